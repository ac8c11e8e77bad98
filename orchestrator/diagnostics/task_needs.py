"""The requirements that a sweep has for its task, so that the dry run can test them before any trial runs."""

from __future__ import annotations

from trainables.config.base import FrozenConfig
from trainables.config.training import Precision


class Requirements(FrozenConfig):
    precisions: tuple[Precision, ...] = ("float32",)
    num_workers: int = 1  # the largest number in any trial
    compresses: bool = False  # whether the model must be exportable
    student_widths: tuple[float, ...] = ()  # widths of all distilled students
