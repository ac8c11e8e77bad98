"""Where the data and the other files of a task are, and its three tables, opened."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.data.fingerprint import check_unchanged
from trainables.data.sources import SPLITS, DataError, absolute_source

if TYPE_CHECKING:
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

    @cached_property
    def test(self) -> Table:
        """Opened when it is asked for: only the recommendation does."""
        return self.open_test()


def open_data(
    task: Task, cache: Path, open_source: Callable[[str, Path], Table] | None = None, *, planned: str | None = None
) -> TaskData:
    """The three tables of a task. Raises DataError, also when their columns differ or lack one of `inputs`.

    `planned` is the fingerprint of the data, and of the task's `files`, that a trial was planned with: should it be
    another by now, that is an error too.
    """
    from trainables.data.table import open_table, unlike  # torch, for which a plan does not wait

    sources, open_source = sources_of(task), open_source or open_table
    if planned is not None:
        check_unchanged(sources, files_of(task), planned, cache)

    def opened(split: str, like: Table | None = None) -> Table:
        source = sources[split]
        table = open_source(source, cache)
        missing = [name for name in task.inputs if name not in table.columns]
        if missing:
            raise DataError(
                f"the {split} data {source!r} has no column {', '.join(map(repr, missing))}, "
                f"which `inputs` names; it has {', '.join(map(repr, table.columns))}"
            )
        if like and like.columns != table.columns:
            here, there = unlike(table, like)
            raise DataError(
                f"the {split} data {source!r} has {here}, the train data {there}; they must be the same in all sets: "
                "write what differs alike, or leave it out"
            )
        return table

    train = opened("train")
    return TaskData(train, opened("validation", train), lambda: opened("test", train))
