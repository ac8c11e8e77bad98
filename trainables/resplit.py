"""Trains with the micro-batch that fits: where memory runs out, a smaller one, accumulated to the same batch.

The effective batch, the learning rate and the budget stay what they were, so the trial stays the trial it was planned
to be. What can change is said: batch norm takes its statistics of one micro-batch, and dropout draws other masks.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Generator

from torch import nn

from trainables.batching import split_batch
from trainables.config import Training
from trainables.data import TaskData
from trainables.data_parallel import MicroBatchTooLargeError
from trainables.gradient_noise import GradientNoise, has_batch_norm
from trainables.loop import train
from trainables.memory import out_of_memory, release_memory
from trainables.place import Place
from trainables.results import Estimate, Report
from trainables.tasks.base import Task


class Fitting:
    """Training that begins anew, or goes on from its checkpoint, with half the micro-batch whenever memory runs out.

    `training`, `model` and `noise` are always those of the division that is being tried.
    """

    def __init__(self, build: Callable[[], nn.Module], task: Task, data: TaskData, training: Training, place: Place):
        """`build` gives the model as it is before training, the same at each call."""
        self._build, self._task, self._data, self._place = build, task, data, place
        self.planned = training
        self._take(training)

    def _take(self, training: Training) -> None:
        self.training, self.model = training, self._build()
        self.noise = GradientNoise(training, self._data.train.n_rows, self._place)
        self.noise.has_batch_norm = has_batch_norm(self.model)

    def train(self, checkpoint: str) -> Generator[Report, None, tuple[Report, ...]]:
        """`loop.train`. Raises what it raises; a shortage of memory only when not even single rows fit.

        With several workers a shortage is seen, by all of them together, before the first step. One that comes later
        is raised: its worker's peers wait for gradients meanwhile, and only a new group helps.
        """
        while True:
            try:
                return (
                    yield from train(
                        self.model,
                        self._task,
                        self._data,
                        self.training,
                        self._place,
                        checkpoint=checkpoint,
                        noise=self.noise,
                    )
                )
            except Exception as error:
                smaller = next_division(self.training)
                if smaller is None or not self._can_go_on_after(error):
                    raise
                _forget_frames(error)
            self.model = nn.Identity()  # before the next one is built: there is no room for both
            release_memory(self._place.device)
            self._take(smaller)

    def _can_go_on_after(self, error: Exception) -> bool:
        if isinstance(error, MicroBatchTooLargeError):
            return True
        return self._place.num_workers == 1 and out_of_memory(error)

    def warnings(self) -> tuple[str, ...]:
        """What must be said of the division; empty if it is the planned one."""
        now, planned = self.training, self.planned
        if now == planned:
            return ()
        text = (
            f"memory ran out at micro_batch_size {planned.micro_batch_size}, so the batch of {now.batch_size} was "
            f"divided into {now.accumulation_steps} micro-batches of {now.micro_batch_size} on each worker instead of "
            f"{planned.accumulation_steps} of {planned.micro_batch_size}"
        )
        if has_batch_norm(self.model):
            text += f"; batch norm then sees {now.micro_batch_size} rows at a time"
        return (text,)

    def figures(self) -> dict[str, Estimate]:
        """The division that was trained with."""
        note = "as planned" if self.training == self.planned else "smaller than planned: memory ran out"
        return {
            "micro_batch_size": Estimate.exact(self.training.micro_batch_size, note),
            "accumulation_steps": Estimate.exact(self.training.accumulation_steps, note.replace("smaller", "more")),
        }


def next_division(training: Training) -> Training | None:
    """The largest micro-batch of at most half the size that divides a worker's share; None when it is a single row."""
    if training.micro_batch_size == 1:
        return None
    micro, accumulation = split_batch(training.batch_size, training.num_workers, training.micro_batch_size // 2)
    return training.model_copy(update={"micro_batch_size": micro, "accumulation_steps": accumulation})


def _forget_frames(error: BaseException) -> None:
    """Frames hold the tensors that took the memory."""
    seen: BaseException | None = error
    while seen is not None:
        with contextlib.suppress(RuntimeError):
            traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
