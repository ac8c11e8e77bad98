"""One optimiser step over micro-batches and workers, and the figures collected over many steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainables.compat import divide_all, norms
from trainables.config.training import Training
from trainables.distributed.worker_context import WorkerContext
from trainables.tasks.base import Batch
from trainables.training.data_parallel import ItemLosses, data_parallel
from trainables.training.evaluate import autocast
from trainables.training.gradient_noise import GradientNoise, StepNoise, part_rows, without_trace


class OptimizerStep:
    """Forward, backward and update for one effective batch.

    With L_i the loss of item i, n the items of the effective batch and R the rows of it on one of K workers, each
    worker back-propagates the sum of its L_i / R; DistributedDataParallel averages that over workers; the gradients are
    then multiplied by K R / n. The result is the gradient of the mean of L_i over all n items, also when workers or
    micro-batches hold different numbers of items, which is known only after their forward passes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        objective: ItemLosses,
        training: Training,
        worker: WorkerContext,
        *,
        skips_parameters: bool = False,
    ) -> None:
        """`skips_parameters`: the task's attribute of this name."""
        self.model = model
        self.optimizer = optimizer
        self.objective = objective
        self.precision = training.precision
        self.learning_rate = training.learning_rate  # of the last step, before the factors of groups
        self.clip_norm = training.gradient_clip_norm
        self.worker = worker
        self.skips_parameters = skips_parameters
        self.expect(training.batch_size // training.num_workers)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.scaler = torch.amp.GradScaler(worker.device.type, enabled=training.precision == "float16")
        self._losses: Callable[[Batch], Tensor] = partial(objective, model)

    def expect(self, rows: int) -> None:
        """Take `rows` for the R of the steps to come. It changes no result: steps of other rows divide once more."""
        self.rows = rows
        # Passed to backward instead of dividing the loss: saves two small kernels, which matters for small models.
        self._weight = torch.tensor(1 / rows, device=self.worker.device, dtype=torch.float64)

    def __call__(
        self,
        micro_batches: Sequence[Batch],
        learning_rate: float,
        *,
        with_norm: bool = True,
        noise: GradientNoise | None = None,
    ) -> tuple[Tensor, int, Tensor | None]:
        """Take one step; return this worker's sum of losses and number of items, and the norm of the gradient.

        The norm is that before clipping, the same on all workers; it is left out if neither `with_norm` nor clipping
        asks for it. With `noise`, the step is also measured for the noise scale, which does not change it. Tensors stay
        on the device: nothing here waits for it.
        """
        if self.worker.world_size > 1 and not isinstance(self._losses, DistributedDataParallel):
            look = (micro_batches[0], self.worker, self.precision, self.optimizer)
            self._losses = data_parallel(self.model, self.objective, *look, skips_parameters=self.skips_parameters)
        for parameter in self.parameters:
            parameter.grad = None
        if noise is None:
            loss_sums, count = self._accumulate(micro_batches)
            norm = self._finish_gradients(count.mean_per_worker() / self.rows, with_norm)
        else:
            sample = StepNoise(self.worker.world_size * sum(map(_rows, micro_batches)), self.rows)
            if len(micro_batches) * self.worker.world_size == 1:
                self._measure_parts(micro_batches[0], sample)
                loss_sums, count = self._accumulate(micro_batches)
            else:
                with sample.watching(self.parameters):
                    loss_sums, count = self._accumulate(micro_batches, sample)
            norm = self._finish_gradients(count.mean_per_worker() / self.rows, with_norm, sample)
            noise.add(sample)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["rate_factor"]
        self.learning_rate = learning_rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss_sums[0] if len(loss_sums) == 1 else torch.stack(loss_sums).sum(), count.own, norm

    def _accumulate(
        self, micro_batches: Sequence[Batch], sample: StepNoise | None = None
    ) -> tuple[list[Tensor], ItemCount]:
        """Forward and backward for all micro-batches: their sums of losses, and how many items they had."""
        loss_sums: list[Tensor] = []
        count = ItemCount(self.worker)
        for number, batch in enumerate(micro_batches, start=1):
            is_last = number == len(micro_batches)
            with self._gradient_exchange(is_last):
                with autocast(self.precision, self.worker.device):
                    losses = _per_item(self._losses(batch), _rows(batch))
                loss_sum = losses.sum()
                count.add(losses.numel(), is_last)
                torch.autograd.backward(self.scaler.scale(loss_sum), self._weight_like(losses))
            loss_sums.append(loss_sum.detach())
            if sample is not None:
                sample.close_part(_rows(batch), losses.numel())
        return loss_sums, count

    def _measure_parts(self, batch: Batch, sample: StepNoise) -> None:
        """The gradients of two parts of the batch, for their norms alone."""
        rows, items = part_rows(_rows(batch)), 0
        with without_trace(self.model, self.worker.device), sample.watching(self.parameters):
            for start in (0, rows):
                with autocast(self.precision, self.worker.device):
                    part = {name: column[start : start + rows] for name, column in batch.items()}
                    losses = _per_item(self._losses(part), _rows(part))
                torch.autograd.backward(self.scaler.scale(losses.sum()), self._weight_like(losses))
                sample.close_part(rows, losses.numel())
                items += losses.numel()
        sample.close_divided(self._gradients(), 2 * rows, items)
        for parameter in self.parameters:
            parameter.grad = None

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def _gradient_exchange(self, is_last: bool) -> AbstractContextManager[None]:
        """Synchronise gradients between workers only with the last micro-batch."""
        if isinstance(self._losses, DistributedDataParallel) and not is_last:
            return self._losses.no_sync()
        return nullcontext()

    def _weight_like(self, losses: Tensor) -> Tensor:
        if self._weight.dtype != losses.dtype:
            self._weight = self._weight.to(losses.dtype)
        return self._weight

    def _finish_gradients(
        self, items_per_row: float | Tensor, with_norm: bool, sample: StepNoise | None = None
    ) -> Tensor | None:
        """Unscale, turn sums per row into means per item, take the norm, clip."""
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.optimizer)
        gradients = self._gradients()
        if isinstance(items_per_row, Tensor) or items_per_row != 1.0:
            divide_all(gradients, items_per_row)
        if sample is not None:
            sample.close(gradients, self.scaler.get_scale() if self.scaler.is_enabled() else 1.0)
        if not with_norm and self.clip_norm is None:
            return None
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms(gradients)))
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip_norm, norm)
        return norm


class ItemCount:
    """Items of the effective batch, summed over micro-batches and, beside the last backward pass, over workers."""

    def __init__(self, worker: WorkerContext) -> None:
        self.worker = worker
        self.own = 0
        self._total: Tensor | None = None
        self._work: dist.Work | None = None

    def add(self, items: int, is_last: bool) -> None:
        self.own += items
        if is_last and self.worker.world_size > 1:
            self._total = torch.full((), float(self.own), dtype=torch.float64, device=self.worker.device)
            self._work = dist.all_reduce(self._total, async_op=True)

    def mean_per_worker(self) -> float | Tensor:
        """A number where that needs no waiting for a device, else a tensor; never 0, since it divides."""
        if self._total is None or self._work is None:
            return float(max(self.own, 1))
        self._work.wait()
        mean = self._total.clamp(min=1) / self.worker.world_size
        return mean if mean.is_cuda else float(mean)


def _rows(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _per_item(losses: Tensor, rows: int) -> Tensor:
    if losses.ndim == 0 and rows == 1:
        losses = losses.reshape(1)  # a squeeze() takes the one row of a batch away with the rest
    if losses.ndim != 1:
        raise ValueError(f"a loss must be given for every item, shape [items], not reduced; got {list(losses.shape)}")
    return losses if losses.dtype in (torch.float32, torch.float64) else losses.float()


class Readings:
    """The losses and gradient norms of the steps since the last evaluation."""

    def __init__(self, worker: WorkerContext) -> None:
        self.worker = worker
        self.steps = 0
        self._items = 0
        self._loss_sum = 0.0
        self._norms: list[float] = []
        self._new_losses: list[Tensor] = []  # still on the device
        self._new_norms: list[Tensor] = []

    def append(self, loss_sum: Tensor, items: int, norm: Tensor | None) -> None:
        self._new_losses.append(loss_sum)
        self._items += items
        if norm is not None:
            self._new_norms.append(norm)

    def look(self) -> tuple[int, float] | None:
        """Fetch new losses, waiting for the device; returns the first step with a loss that is not finite, and that
        loss.

        All workers get the same answer, whichever of them met the infinity or NaN.
        """
        losses = torch.stack(self._new_losses).tolist()
        norms = torch.stack(self._new_norms).tolist() if self._new_norms else []
        self._new_losses, self._new_norms = [], []
        self.steps += len(losses)
        self._loss_sum += math.fsum(losses) if all(map(math.isfinite, losses)) else math.nan
        self._norms += [norm for norm in norms if math.isfinite(norm)]  # loss scaling skips the others' steps
        bad = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
        first = int(self._reduced([bad], dist.ReduceOp.MIN)[0])
        return None if first == len(losses) else (first, self._reduced([losses[first]], dist.ReduceOp.SUM)[0])

    def metrics(self, examples: int, seconds: float) -> dict[str, float]:
        """The figures of all steps since the last evaluation, over all workers, given their examples and seconds."""
        sums = [self._loss_sum, float(self._items), math.fsum(self._norms), float(len(self._norms))]
        loss_sum, items, norm_sum, norms = self._reduced(sums, dist.ReduceOp.SUM)
        highest = self._reduced([max(self._norms, default=-math.inf)], dist.ReduceOp.MAX)[0]
        return {
            "step_loss_mean": loss_sum / max(items, 1.0),
            "gradient_norm_mean": norm_sum / norms if norms else math.nan,
            "gradient_norm_max": highest if norms else math.nan,
            "examples_per_second": examples / seconds,
        }

    def _reduced(self, values: list[float], operation: dist.ReduceOp.RedOpType) -> list[float]:
        if self.worker.world_size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.worker.device)
        dist.all_reduce(tensor, op=operation)
        reduced: list[float] = tensor.tolist()
        return reduced
