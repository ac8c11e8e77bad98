"""Falls back to a smaller micro-batch if memory runs out, with more accumulation steps for the same batch.

The effective batch, the learning rate and the budget do not change, so the trial remains the planned one. A warning
names the possible changes: batch norm computes its statistics over one micro-batch, and dropout draws other masks.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Generator

from torch import nn

from trainables.config.training import Training
from trainables.distributed.worker_context import WorkerContext
from trainables.errors import ParetuneError
from trainables.estimate import Estimate
from trainables.process.memory import out_of_memory, release_memory
from trainables.results import Report
from trainables.tasks.base import Task
from trainables.tasks.task_data import TaskData
from trainables.training.data_parallel import ItemLosses, MicroBatchTooLargeError
from trainables.training.gradient_noise import GradientNoise, has_batch_norm, needs_more_rows
from trainables.training.loop import train
from trainables.training.micro_batch_record import division_of, next_division, write_down


class SmallerNextError(ParetuneError, RuntimeError):
    """Memory ran out on one of several workers: the trial continues in a new group, with the recorded micro-batch."""


class MicroBatchFallback:
    """Training that restarts, or resumes from its checkpoint, with half the micro-batch whenever memory runs out.

    `training`, `model` and `noise` always belong to the division that is currently tried. It is recorded beside the
    checkpoint, so that a resumed trial does not run out of memory again.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        task: Task,
        data: TaskData,
        training: Training,
        worker: WorkerContext,
        checkpoint: str,
        *,
        objective: ItemLosses | None = None,
        measures_noise: bool = False,
    ) -> None:
        """`build` returns the untrained model, the same at each call; the other arguments are `loop.train`'s."""
        self._build, self._task, self._data, self._worker = build, task, data, worker
        self._checkpoint, self._objective, self._measures_noise = checkpoint, objective, measures_noise
        self.planned = training
        self._take(division_of(training, worker.storage, checkpoint))

    def _take(self, training: Training) -> None:
        self.training, self.model = training, self._build()
        self.noise: GradientNoise | None = None
        if self._measures_noise:
            self.noise = GradientNoise(training, self._data.train.n_rows, self._worker)
            self.noise.has_batch_norm = has_batch_norm(self.model)

    def train(self) -> Generator[Report, None, tuple[Report, ...]]:
        """`loop.train`, with its errors; out-of-memory is raised only if not even single rows fit.

        If memory runs out before the first step, all workers notice it together and continue. If it runs out later, the
        peers are waiting for gradients, and only a new group helps: then SmallerNextError is raised.
        """
        while True:
            try:
                return (
                    yield from train(
                        self.model,
                        self._task,
                        self._data,
                        self.training,
                        self._worker,
                        objective=self._objective,
                        checkpoint=self._checkpoint,
                        noise=self.noise,
                    )
                )
            except Exception as error:
                if self.training != self.planned and needs_more_rows(error):
                    raise MicroBatchTooLargeError(f"memory ran out, and {error}") from error
                smaller = next_division(self.training)
                together = isinstance(error, MicroBatchTooLargeError)
                if smaller is None or not (together or out_of_memory(error)):
                    raise
                if self._worker.is_rank_zero or not together:
                    write_down(smaller, self._worker.storage, self._checkpoint)
                if self._worker.world_size > 1 and not together:
                    raise SmallerNextError(
                        f"memory ran out at micro_batch_size {self.training.micro_batch_size}; "
                        f"the next attempt takes {smaller.micro_batch_size}"
                    ) from error
                _forget_frames(error)
            self.model = nn.Identity()  # frees the model before the next one is built, as there is no room for both
            release_memory(self._worker.device)
            self._take(smaller)

    def warnings(self) -> tuple[str, ...]:
        """The warning about another division than the planned one; empty if it is the planned one."""
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
        """The division that was trained with, and the noise scale if it was asked for."""
        note = "as planned" if self.training == self.planned else "smaller than planned: memory ran out"
        return {
            "micro_batch_size": Estimate.exact(self.training.micro_batch_size, note),
            "accumulation_steps": Estimate.exact(self.training.accumulation_steps, note.replace("smaller", "more")),
            **({} if self.noise is None else {"noise_scale": self.noise.estimate()}),
        }


def _forget_frames(error: BaseException) -> None:
    """Frames hold the tensors that took the memory."""
    seen: BaseException | None = error
    while seen is not None:
        with contextlib.suppress(RuntimeError):
            traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__
