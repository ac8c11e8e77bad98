"""Measures the gradient noise scale inside a training run, on some of its steps, without changing the training.

The parts of a batch (see `noise_scale`) are the micro-batches of all workers. The norm of each one's gradient is
computed when it arrives at the parameters, before it is accumulated. A batch that is one micro-batch on one worker has
no parts; for it, two eighths of its rows go forward and backward once more before the step itself, without side
effects: the gradients are discarded, buffers and random generators are restored. (One part together with the whole
would suffice, but if the batch is larger than the noise scale, their norms differ mostly by chance.)

All norms are in float64, before clipping, without the loss scale, and stay on the device until the next check. State
that a task keeps in Python between two calls is not covered: it sees the additional calls of the last case.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.compat import BatchNorm, norms
from trainables.config.training import Training
from trainables.distributed.worker_context import WorkerContext
from trainables.estimate import Estimate
from trainables.results import Report
from trainables.training.noise_scale import NoiseScaleMeter, steps_between_measurements

HALF_LIFE = 32  # measured steps after which a measurement weighs half: the noise scale grows during training
DIVIDED_SHARE = 8  # each of the two parts is an eighth of the batch: larger ones cost more and help little
SMALL = 1 << 16  # elements
CHUNK = 1 << 22  # elements that are made float64 at a time

UNRESOLVED = "unresolved"


class GradientNoise:
    """The noise scale of one training run, on every one of its workers."""

    def __init__(self, training: Training, train_rows: int, worker: WorkerContext) -> None:
        """`train_rows`: the rows that the batches are drawn from without replacement, all workers together."""
        self.meter = NoiseScaleMeter(half_life=HALF_LIFE, dataset_rows=train_rows)
        self.has_batch_norm = False
        self._training, self._train_rows = training, train_rows
        self._worker = worker
        self._samples: list[Sample] = []

    def is_due(self, step: int, growth: int = 1) -> bool:
        """Whether the step after `step` others is to be measured, when the batch has grown this much."""
        every = steps_between_measurements(self._training, growth, self._train_rows)
        return every is not None and (step + 1) % every == 0  # not the first one, whose gradient is like no other

    def add(self, sample: StepNoise) -> None:
        """Store the sample of one step, without waiting for a device."""
        self._samples.append(sample.sample())

    def look(self) -> None:
        """Add the samples of the steps since the last check to the averages; all workers do so together."""
        if not self._samples:
            return
        norms = torch.stack([sample.norms for sample in self._samples])
        if self._worker.world_size > 1:
            dist.all_reduce(norms)
            norms /= self._worker.world_size
        for (part, batch, whole), sample in zip(norms.tolist(), self._samples, strict=True):
            if math.isfinite(part + batch + whole) and sample.parts > 1:  # loss scaling skips such steps too
                larger = (whole, sample.whole_size)
                self.meter.add(part, batch, parts=sample.parts, batch_size=sample.batch_size, larger=larger)
        self._samples = []

    def estimate(self) -> Estimate:
        """B_simple in examples with its 95 % interval; NaN with a note that begins with "unresolved" if it is not."""
        found = self.meter.estimate()
        if found.examples is None:
            reason = self._why_never() or found.unresolved
            least = f"; it is {found.low:.3g} examples at least" if found.low else ""
            return Estimate(value=math.nan, n=found.steps, note=f"{UNRESOLVED}: {reason}{least}")
        note = f"averages over {found.steps} steps, of which the last {HALF_LIFE} weigh most"
        if self.has_batch_norm:
            note += "; batch norm makes the rows of a batch depend on each other, but the estimate assumes independence"
        return Estimate(value=found.examples, low=found.low, high=found.high, n=found.steps, note=note)

    def warnings(self, history: Sequence[Report]) -> tuple[str, ...]:
        """A warning for a finished run whose batch was to grow with the noise scale, if that was never resolved."""
        size, growing = self._training.batch_size, self._training.batch_schedule.name == "grow_with_noise"
        has_grown = any(report.examples > report.step * size for report in history)
        if not growing or has_grown or any("noise_scale" in report.metrics for report in history):
            return ()
        reason = (self.estimate().note or "").removeprefix(f"{UNRESOLVED}: ")
        return (f"the batch of {size} did not grow: its noise scale was not resolved at any evaluation ({reason})",)

    def _why_never(self) -> str | None:
        if self._training.noise_scale is None:
            return "noise_scale is switched off"
        if steps_between_measurements(self._training) is None:
            return f"a batch of {self._training.micro_batch_size} rows in one piece is not divided"
        return None


@dataclass(frozen=True)
class Sample:
    """The sample of one step: n_b, n_B and n_W of `noise_scale`, float64 [3] on the device, and K, B and W."""

    norms: Tensor
    parts: float
    batch_size: int
    whole_size: int


class StepNoise:
    """The squared norms of one step's gradient and of its parts' gradients, as they come.

    A part's gradient arrives as the sum of its items' gradients over `divisor`, times the loss scale; it is turned into
    the mean over the part's items.
    """

    def __init__(self, whole_size: int, divisor: int) -> None:
        self._whole_size, self._divisor = whole_size, divisor
        self._squares: list[Tensor] = []  # of the part at hand
        self._small: list[Tensor] = []  # its small gradients, to be looked at together: on small models calls are felt
        self._parts: list[Tensor] = []
        self._inverse_sizes: list[float] = []
        self._divided: tuple[Tensor, int] | None = None  # n_B and B, if that is not the step's own batch
        self._whole: Tensor | None = None
        self._unscale = 1.0

    @contextmanager
    def watching(self, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
        """Meanwhile, take the norm of every gradient that a backward pass brings to a parameter."""
        handles = [parameter.register_hook(self._note) for parameter in parameters]  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            for handle, parameter in zip(handles, parameters, strict=True):
                handle.remove()
                if not parameter._backward_hooks:  # an empty dictionary of hooks still costs a call in every backward
                    parameter._backward_hooks = None

    def close_part(self, rows: int, items: int) -> None:
        """What has arrived since the last call is the gradient of a part of these rows, with these items of loss."""
        self._parts.append(_total(self._small, self._squares) * self._per_item(items))
        self._inverse_sizes.append(1 / rows)
        self._squares, self._small = [], []

    def close_divided(self, gradients: Sequence[Tensor], rows: int, items: int) -> None:
        """The sum of the parts' gradients, where they are not the step's: of these rows, with these items."""
        self._divided = _total(gradients) * self._per_item(items), rows

    def close(self, gradients: Sequence[Tensor], loss_scale: float) -> None:
        """The step's finished gradients, before clipping, and the scale that the parts' still have."""
        self._whole = _total(gradients)
        self._unscale = 1 / loss_scale**2

    def sample(self) -> Sample:
        """All together. Raises RuntimeError before `close`."""
        if self._whole is None:
            raise RuntimeError("the step has not finished its gradients")
        part = torch.stack(self._parts).mean() * self._unscale
        batch, batch_size = self._whole, self._whole_size
        if self._divided is not None:
            batch, batch_size = self._divided[0] * self._unscale, self._divided[1]
        parts = batch_size * math.fsum(self._inverse_sizes) / len(self._inverse_sizes)
        return Sample(torch.stack([part, batch, self._whole]), parts, batch_size, self._whole_size)

    def _per_item(self, items: int) -> float:
        return (self._divisor / items) ** 2 if items else math.nan

    def _note(self, gradient: Tensor | None) -> None:
        if gradient is None:
            return
        gradient = _real(gradient)
        if gradient.numel() <= SMALL:
            self._small.append(gradient)
        else:  # not kept: it would take as much memory again
            self._squares.append(squared_norm(gradient))


def _total(gradients: Sequence[Tensor], squares: Sequence[Tensor] = ()) -> Tensor:
    """The sum of the squared norms of all gradients, and of what is there already."""
    gradients = [_real(gradient) for gradient in gradients]
    small = [gradient for gradient in gradients if gradient.numel() <= SMALL]
    large = [squared_norm(gradient) for gradient in gradients if gradient.numel() > SMALL]
    parts = [torch.stack(norms(small, torch.float64)).square().sum()] if small else []
    return torch.stack([*parts, *large, *squares]).sum()


@torch.no_grad()
def squared_norm(tensor: Tensor) -> Tensor:
    """|tensor|^2 in float64, shape []; a large tensor is not made float64 all at once."""
    chunks: tuple[Tensor, ...] = torch.split(_real(tensor).reshape(-1), CHUNK)
    return torch.stack(norms(chunks, torch.float64)).square().sum()


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


@contextmanager
def without_trace(model: nn.Module, device: torch.device) -> Iterator[None]:
    """In the block, changes to the model's buffers and to random generators are temporary."""
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                if not overlaps_itself(buffer):  # such a buffer cannot be written in place, so it has not changed
                    buffer.copy_(before)
                module._buffers[name] = buffer


def overlaps_itself(tensor: Tensor) -> bool:
    """Whether it was expanded, as by `meshgrid`: several of its elements are one place in memory."""
    return any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def part_rows(rows: int) -> int:
    """Rows of each of the two parts of a batch of `rows` in one piece: at least 2, which batch norm needs."""
    return max(2, rows // DIVIDED_SHARE)


def needs_more_rows(error: BaseException) -> bool:
    """Whether batch norm refused a single row: of vectors, it takes its statistics of at least two."""
    return isinstance(error, ValueError) and "Expected more than 1 value per channel" in str(error)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether rows of a batch influence each other through normalisation."""
    return any(isinstance(module, BatchNorm) for module in model.modules())
