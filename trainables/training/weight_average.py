"""An exponential average of the weights over the steps, which is what is evaluated and kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.compat import lerp_all
from trainables.distributed.worker_context import WorkerContext


class WeightAverage:
    """After step t = 1, 2, ...: average <- d average + (1 - d) weights, with d = min(decay, (1 + t) / (10 + t)).

    The smaller d of the first steps forgets the random weights at the beginning, as in TensorFlow's
    ExponentialMovingAverage. Buffers that are not whole numbers are averaged too, so that batch norm's statistics are
    those of the averaged weights' inputs, roughly.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self._tensors: list[Tensor] = [*(parameter.data for parameter in model.parameters()), *self._buffers]
        self._average = [tensor.clone() for tensor in self._tensors]

    @torch.no_grad()
    def after_step(self) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        lerp_all(self._average, self._tensors, 1 - decay)

    def before_reading(self, worker: WorkerContext) -> None:
        """The average of the buffers is the first worker's: others have moved by rows of their own."""
        if worker.world_size > 1:
            for average in self._average[len(self._average) - len(self._buffers) :]:
                dist.broadcast(average, src=0)

    @contextmanager
    def in_the_model(self) -> Iterator[None]:
        """The model computes with the average; afterwards it has its weights again, to the bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def take_over(self) -> None:
        """The model is the average from now on: the training is over."""
        for tensor, average in zip(self._tensors, self._average, strict=True):
            tensor.copy_(average)

    @torch.no_grad()
    def _exchange(self) -> None:
        for tensor, average in zip(self._tensors, self._average, strict=True):
            weights = tensor.clone()
            tensor.copy_(average)
            average.copy_(weights)

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps, "average": self._average}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Raises ValueError if it is of another model."""
        self.steps = state["steps"]
        for average, saved in zip(self._average, state["average"], strict=True):
            average.copy_(saved)
