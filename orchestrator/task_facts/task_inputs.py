"""The inputs of a task: the fingerprints of its data and its other files, and the number of training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.diagnostics.node import Node
from trainables.data import builtin
from trainables.data.fingerprint import all_together, file_fingerprint, fingerprint, overlap
from trainables.data.sources import DataError


@dataclass(frozen=True)
class TaskInputs:
    """Where everything is that a task reads: absolute paths, or URIs of the data."""

    sources: Mapping[str, str]  # by the name of the split
    files: tuple[str, ...] = ()


def read_inputs(name: Node, task: str, inputs: TaskInputs) -> tuple[str, int] | None:
    """(fingerprint of all that is read, training rows); None if something cannot be read, which is noted at `name`.

    `task` is what messages call it.
    """
    errors = []
    prints: dict[str, str] = {}
    files: list[str] = []
    for split, path in inputs.sources.items():
        try:
            prints[split] = fingerprint(path)
        except (DataError, OSError) as error:
            errors.append(f"{task}.{split}: {error}")
    for path in inputs.files:
        try:
            files.append(file_fingerprint(path))
        except (DataError, OSError) as error:
            errors.append(f"{task}.files: {error}")
    try:
        shared = None if errors else overlap(inputs.sources, prints)
        rows = 0 if errors else _rows(inputs.sources["train"])
    except (DataError, OSError, ValueError) as error:  # pyarrow's own errors are both
        errors.append(f"{task}.train: {error}")
    for message in errors:
        name.fail(message)
    if not errors and shared:
        name.fail(f"{task}.{shared}", allowed="three sets of data that have no file and no content in common")
    return None if errors or shared else (all_together(prints, files), rows)


def _rows(source: str) -> int:
    """Rows of a source. Raises DataError. Only files need pyarrow: a plan on built-in data does not wait for it."""
    if source.startswith(builtin.SCHEME):
        return builtin.n_rows(source)
    from trainables.data.formats import count_rows

    return count_rows(source)


def read_all(name: Node, tasks: Mapping[str, TaskInputs]) -> tuple[tuple[str, ...], int] | None:
    """(fingerprints, the fewest training rows) of tasks that differ in their options, by their names in messages."""
    read: list[tuple[TaskInputs, tuple[str, int] | None]] = []  # most options leave what is read the same
    for task, inputs in tasks.items():
        if all(inputs != other for other, _ in read):
            read.append((inputs, read_inputs(name, task, inputs)))
    known = [found for inputs in tasks.values() for other, found in read if other == inputs and found]
    if len(known) < len(tasks):
        return None
    prints, rows = zip(*known, strict=True)
    return prints, min(rows)
