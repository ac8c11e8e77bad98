"""Workers that train one model together: each computes the losses of its own rows, gradients are averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Adafactor, Optimizer, RMSprop

from trainables.config.training import Precision
from trainables.distributed.worker_context import WorkerContext
from trainables.errors import ParetuneError
from trainables.process.memory import out_of_memory, release_memory
from trainables.tasks.base import Batch, Task
from trainables.training.evaluate import autocast, in_eval_mode
from trainables.training.gradient_noise import without_trace
from trainables.training.lion_and_lamb import Lion

ItemLosses = Callable[[nn.Module, Batch], Tensor]  # the loss of every item, shape [items]


def task_objective(task: Task) -> ItemLosses:
    """The default objective of a training; distillation has another one."""

    def objective(model: nn.Module, batch: Batch) -> Tensor:
        batch = task.training_batch(batch)
        return task.training_losses(task.forward(model, batch), batch)

    return objective


class MicroBatchTooLargeError(ParetuneError, RuntimeError):
    """Memory ran out on one of the workers, or on several; every worker raises this, before the first step."""


class _Losses(nn.Module):
    """The objective as a module. The task gets the model itself, so it can use all its attributes."""

    def __init__(self, model: nn.Module, objective: ItemLosses) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> Tensor:
        return self.objective(self.model, batch)


def data_parallel(
    model: nn.Module,
    objective: ItemLosses,
    example: Batch,
    worker: WorkerContext,
    precision: Precision,
    optimizer: Optimizer,
    *,
    skips_parameters: bool = False,
) -> DistributedDataParallel:
    """A module batch -> losses whose backward pass leaves in `model` the mean of all workers' gradients.

    All workers get the first one's weights. `example`: a batch that shows whether some parameters do not affect the
    loss; waiting for their gradients would fail, and detecting them at every step takes time, so it is done only if
    there are any. It cannot show parameters that other steps leave out: `skips_parameters`, the task's attribute,
    declares these. It also shows whether the batch fits, together with the future state of `optimizer`. Raises
    MicroBatchTooLargeError on all workers if it does not fit on one of them: later, during a step, that worker could
    not tell its peers, which would wait for its gradients.
    """
    losses = _Losses(model, objective)
    has_unused, ran_out = False, False
    try:
        reserve = _stand_ins(losses, optimizer)  # what the steps hold and this look does not
        has_unused = _has_unused_parameters(losses, example, worker, precision) or skips_parameters
        del reserve
    except Exception as error:
        if not out_of_memory(error):
            raise
        ran_out = True  # the error goes here, and with it the frames that hold the memory
    release_memory(worker.device)  # the allocator would keep it, and NCCL takes its own from what the device has left
    seen = torch.tensor([float(has_unused), float(ran_out)], device=worker.device)
    dist.all_reduce(seen, op=dist.ReduceOp.MAX)
    if seen[1] > 0:
        rows = len(next(iter(example.values())))
        raise MicroBatchTooLargeError(f"memory ran out at a micro-batch of {rows} rows, on one worker or several")
    devices = [worker.device] if worker.device.type == "cuda" else None
    wrapped = DistributedDataParallel(losses, device_ids=devices, find_unused_parameters=bool(seen[0] > 0))
    if seen[0] == 0:
        _settle(wrapped, example, worker, precision)
    return wrapped


def _settle(wrapped: DistributedDataParallel, example: Batch, worker: WorkerContext, precision: Precision) -> None:
    """One discarded backward pass, because DDP divides the gradients into other buckets after its first one.

    With more than two workers, sums are then computed in another order, so a resumed run would end with other bits.
    """
    with _still(wrapped, worker):
        with autocast(precision, worker.device):
            found = wrapped(example)
        found.sum().backward()
    wrapped.zero_grad(set_to_none=True)


@contextmanager
def _still(model: nn.Module, worker: WorkerContext) -> Iterator[None]:
    """The mode for a backward pass without side effects: eval mode, except for networks where cuDNN needs
    training mode.
    """
    with in_eval_mode(model), without_trace(model, worker.device):
        for module in model.modules():
            if isinstance(module, nn.RNNBase):
                module.training = True
        yield


def _stand_ins(losses: nn.Module, optimizer: Optimizer) -> list[Tensor]:
    """Placeholders for the buckets in which gradients are sent, and for the optimiser's future state.

    After a resumption it is there already, and an SGD has its momentum from its beginning on CUDA (`optim`).
    """
    trained = [parameter for parameter in losses.parameters() if parameter.requires_grad]
    lacking = [one for one in trained if not optimizer.state.get(one)]
    kept = [one for one in lacking for _ in range(_kept_of_each(optimizer))]
    return [torch.empty_like(parameter) for parameter in [*trained, *kept]]


def _kept_of_each(optimizer: Optimizer) -> int:
    """The largest number of values that an optimiser stores per weight; for an unknown one two, like Adam."""
    match optimizer:
        case SGD():
            return int(bool(optimizer.defaults["momentum"]))
        case RMSprop():
            return 1 + int(bool(optimizer.defaults["momentum"])) + int(optimizer.defaults["centered"])
        case Lion():
            return 1
        case Adafactor():
            return 0  # a row and a column of each matrix
        case _:
            return 2


def _has_unused_parameters(losses: _Losses, example: Batch, worker: WorkerContext, precision: Precision) -> bool:
    """Looks at a backward pass in eval mode. It leaves no trace: a run that is resumed looks once more than others."""
    with _still(losses, worker):
        trained = [parameter for parameter in losses.parameters() if parameter.requires_grad]
        with autocast(precision, worker.device):
            found = losses(example)
        gradients = torch.autograd.grad(found.sum(), trained, allow_unused=True)
    return any(gradient is None for gradient in gradients)
