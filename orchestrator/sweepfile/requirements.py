"""What a sweep will ask of its task, so that all of it can be tried before anything is spent."""

from __future__ import annotations

from trainables.frozen import Frozen
from trainables.training_config import Precision


class Requirements(Frozen):
    precisions: tuple[Precision, ...] = ("float32",)
    num_workers: int = 1  # the most of one trial
    compresses: bool = False  # so that an exported model is needed
    student_widths: tuple[float, ...] = ()  # of all that is distilled
