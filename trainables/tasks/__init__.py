"""Tasks: the user's and the built-in ones. Importing the package does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.tasks.load import TaskError, load_task

if TYPE_CHECKING:
    from trainables.tasks.base import Batch, Task

__all__ = ["Batch", "Task", "TaskError", "load_task"]


def __getattr__(name: str) -> Any:
    """`Task` and `Batch` on first use: a plan reads the catalogue beside them and must not wait for torch."""
    if name in ("Batch", "Task"):
        from trainables.tasks import base

        return getattr(base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
