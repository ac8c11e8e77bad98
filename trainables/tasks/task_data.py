"""Opens the three tables of a task, and finds its data and other files."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.data.fingerprint import check_unchanged
from trainables.data.selection import Selection
from trainables.data.sources import SPLITS, DataError, absolute_source
from trainables.tasks.columns_read import columns_of

if TYPE_CHECKING:
    from trainables.data.preparation import Preparation
    from trainables.data.table import Table
    from trainables.tasks.base import Task


def home_folder(task: Task, attribute: str) -> Path:
    """The folder where a relative path in this attribute of a task starts: that of the module that set it."""
    from trainables.tasks.base import Task

    users = [base for base in type(task).__mro__ if base is not Task]  # whose `files` is but a default
    owner = next((base for base in users if attribute in vars(base)), type(task))
    file = getattr(sys.modules.get(owner.__module__), "__file__", None)
    return Path(file).absolute().parent if file else Path.cwd()


def sources_of(task: Task) -> dict[str, str]:
    """Split -> where its data is: an absolute path or a URI."""
    return {split: absolute_source(getattr(task, split), home_folder(task, split)) for split in SPLITS}


def files_of(task: Task) -> tuple[str, ...]:
    """Where the other files are that a task says it reads: absolute paths."""
    return tuple(absolute_source(file, home_folder(task, "files")) for file in task.files)


@dataclass
class TaskData:
    """The three tables of a task: `train`, `validation` for every choice, and `test`, read once at the end."""

    train: Table
    validation: Table
    open_test: Callable[[], Table]
    preparation: Preparation | None = None  # of the columns that the task says how to make numbers of

    @cached_property
    def test(self) -> Table:
        """Opened when it is asked for: only the recommendation does."""
        return self.open_test()


OpenSource = Callable[[str, Path, Selection], "Table"]


def open_data(
    task: Task,
    cache: Path,
    open_source: OpenSource | None = None,
    *,
    planned: str | None = None,
    also: Iterable[str] = (),
) -> TaskData:
    """The three tables of a task, of the columns that it reads (see `columns_read`).

    `planned` is the fingerprint of the data, and of the task's `files`, that a trial was planned with: should it be
    another by now, that is an error too. `also`: columns of the train data that something else reads, as `data_order`
    does.
    The task's `fitted` is set to what its `columns` ask for.
    Raises DataError, also when one of `inputs` or `columns` is missing, or a column that is read differs between sets.
    """
    from trainables.data.preparation import preparation_of  # numpy and pyarrow, for which a plan does not wait
    from trainables.data.table import open_table  # nor for torch

    sources, open_source = sources_of(task), open_source or open_table
    if planned is not None:
        check_unchanged(sources, files_of(task), planned, cache)
    names = columns_of(task)
    preparation = preparation_of(task.columns, sources, cache)
    if preparation is not None:
        task.fitted = preparation.fitted
    beside = frozenset() if names is None else frozenset(also) - names

    def opened(split: str) -> Table:
        wanted = names if names is None or split != "train" else names | beside
        table = open_source(sources[split], cache, Selection.of(wanted, task.columns, preparation))
        for attribute, needed in (("inputs", task.inputs), ("columns", task.columns)):
            if missing := [name for name in needed if name not in table.columns]:
                known = [*table.columns, *(name for name in table.left_out if name not in missing)]
                why = "; ".join(table.left_out[name] for name in missing if name in table.left_out)
                raise DataError(
                    why
                    or f"the {split} data {sources[split]!r} has no column {', '.join(map(repr, missing))}, "
                    f"which `{attribute}` names; it has {', '.join(map(repr, known))}"
                )
        return table

    train, validation = opened("train"), opened("validation")
    if names is None:
        others = _differences(train, validation, "validation")
        train = train.without({name: why for name, why in others.items() if name not in also})
    shared = train.without(dict.fromkeys(beside & train.columns.keys(), ""))
    alike = functools.partial(_alike, train=shared, drops_others=names is None)
    return TaskData(
        train,
        alike(validation, "validation", sources["validation"]),
        lambda: alike(opened("test"), "test", sources["test"]),
        preparation,
    )


def _alike(table: Table, split: str, source: str, *, train: Table, drops_others: bool) -> Table:
    """The table with the columns of the training data. Raises DataError where it has others, or of other types."""
    from trainables.data.table import unlike

    if drops_others:
        others = [name for name in table.columns if name not in train.columns]
        table = table.without({name: train.left_out.get(name, "the train data has no such column") for name in others})
    if train.columns != table.columns:
        here, there = unlike(table, train)
        raise DataError(
            f"the {split} data {source!r} has {here}, the train data {there}; they must be the same in all sets: "
            "write what differs alike"
        )
    return table


def _differences(train: Table, other: Table, split: str) -> dict[str, str]:
    """Columns of the training data that another set lacks or has otherwise, and why they are left out."""
    from trainables.data.table import differing

    return {
        name: other.left_out.get(name, f"the {split} data has not the same column {name!r} as the train data")
        for name in differing(train, other)
        if name in train.columns
    }
