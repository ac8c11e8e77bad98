"""Checks a user's data for a plan: the columns to read, their types, and problems for which `run` would refuse it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.diagnostics.node import Node
from orchestrator.task_facts.python_source import NOT_LITERAL, FoundClass
from orchestrator.text import listing
from trainables.data import builtin
from trainables.data.columns import Column
from trainables.data.fingerprint import default_cache
from trainables.data.first_rows import FirstRows, first_rows
from trainables.data.preparation import FittedCategory, Preparation, preparation_of
from trainables.data.ragged import MASK
from trainables.data.selection import Selection
from trainables.data.sources import DataError
from trainables.tasks.columns_read import READERS, names_in_code


def check_data(name: Node, class_name: str, found: FoundClass, sources: Mapping[str, str]) -> tuple[str, ...]:
    """Notes on how a task's columns are read, for a person; what is wrong with them is noted at `name`.

    Nothing is looked at where the source does not tell which columns are read.
    """
    inputs = found.attributes.get("inputs", ("features",))
    columns = found.attributes.get("columns", ())
    if found.open_ended or NOT_LITERAL in (inputs, columns) or {"inputs", "columns"} & found.methods:
        return ()
    cache = default_cache()
    try:
        preparation = preparation_of(columns, sources, cache)
    except (DataError, OSError, ValueError) as error:
        name.fail(f"{class_name}.columns: {error}")
        return ()
    selection = replace(_selection(found, inputs, columns), preparation=preparation)
    sets: dict[str, FirstRows] = {}
    for split, source in sources.items():
        if source.startswith(builtin.SCHEME):
            continue
        try:
            sets[split] = first_rows(source, cache, selection)
        except (DataError, OSError, ValueError) as error:  # pyarrow's own errors are both
            name.fail(f"{class_name}.{split}: {error}")
            continue
        needed = dict.fromkeys([*inputs, *columns])
        masks = [f"{ragged}{MASK}" for ragged, _ in selection.ragged]
        if missing := [
            column for column in needed if column not in {*sets[split].columns, *sets[split].ragged, *masks}
        ]:
            known = ", ".join(map(repr, {**sets[split].columns, **sets[split].left_out}))
            told = "; ".join(sets[split].left_out[one] for one in missing if one in sets[split].left_out)
            name.fail(f"{class_name}.{split}: {told or f'no column {listing(map(repr, missing))}; it has {known}'}")
    return (*_notes(sets), *(() if preparation is None else _fitted_notes(preparation)))


def _selection(found: FoundClass, inputs: Sequence[str], columns: Sequence[str] | Mapping[str, Column]) -> Selection:
    """As `columns_read.columns_of` has it of the task itself."""
    named = names_in_code(lambda method: found.definitions.get(method, [] if method in READERS else None))
    if READERS.keys() & found.attributes.keys():  # a lambda, or a function from elsewhere
        named = None
    if named is None and not columns:
        return Selection.of(None, columns)
    return Selection.of({*inputs, *columns, *(named or ())}, columns)


def _notes(sets: Mapping[str, FirstRows]) -> list[str]:
    """How the columns of all sets are read: those of CSV with their types, others where these are not the files'."""
    said: dict[str, list[str]] = {}  # by what is said
    for rows in sets.values():
        about: dict[str, Any] = dict(rows.converted)
        if rows.from_csv:
            about = {one: f"{values.dtype} in the CSV" for one, values in rows.columns.items()} | about
        for column, words in about.items():
            if column not in said.setdefault(words, []):
                said[words].append(column)
    return [f"data: {listing(columns)}: {words}" for words, columns in said.items()]


def _fitted_notes(preparation: Preparation) -> Iterator[str]:
    """What the columns of which the task's `columns` says it are made of."""
    for column, fitted in preparation.columns:
        if isinstance(fitted, FittedCategory):
            beside = ", and 0 for values that it does not have" if fitted.unknown else ""
            yield f"data: {column}: {len(fitted.vocabulary)} categories of the train data as int64{beside}"
        else:
            filled = "" if fitted.fill is None else f", {fitted.fill:.4g} for nulls"
            scaled = (fitted.mean, fitted.deviation) != (0.0, 1.0)
            steps = f", less {fitted.mean:.4g} and divided by {fitted.deviation:.4g}" if scaled else ""
            yield f"data: {column}: {'days since 1970 as ' if fitted.is_date else ''}float32{filled}{steps}"
