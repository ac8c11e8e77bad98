"""Everything that a sweep will ask of its task, so that the dry run can try it before anything is spent."""

from __future__ import annotations

from trainables.config.base import FrozenConfig
from trainables.config.training import Precision


class Requirements(FrozenConfig):
    precisions: tuple[Precision, ...] = ("float32",)
    num_workers: int = 1  # the most of one trial
    compresses: bool = False  # so that an exported model is needed
    student_widths: tuple[float, ...] = ()  # of all that is distilled
