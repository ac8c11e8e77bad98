"""Local SGD: workers train alone, and average their models every H steps.

Zinkevich et al. 2010 (NIPS, "Parallelized Stochastic Gradient Descent"), Stich 2018 (arXiv 1805.09767). It is for
groups that cannot afford to exchange gradients at every step; workers wait for each other only every H steps. The
optimiser's moments are averaged with the parameters (Yu et al. 2019, arXiv 1905.03817), so that all workers have the
same state after averaging, and H = 1 with SGD, with or without momentum, equals data-parallel training. With Adam it
does not, because the second moment is not linear in the gradient; neither with clipping, as each worker clips by its
own norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.config.training import Training
from trainables.distributed.worker_context import WorkerContext

TOGETHER = 1 << 22  # elements sent in one message: few messages, and little memory


class ReplicaSync:
    """The points at which workers synchronise: batch norm's statistics, or with local SGD the mean of all states."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, training: Training, worker: WorkerContext
    ) -> None:
        self.model, self.optimizer, self.worker = model, optimizer, worker
        self.every = training.sync_every_steps if worker.world_size > 1 else None
        if self.every is not None:
            start_alike(model, worker)

    def after_step(self, step: int) -> None:
        """`step`: how many have been taken."""
        if self.every is not None and step % self.every == 0:
            average(self.model, self.optimizer, self.worker)

    def before_reading(self, step: int) -> None:
        """Make the model the same on all workers, so that one model is evaluated, saved and returned."""
        if self.every is None:
            _copy_buffers_from_first(self.model, self.worker)
        elif step % self.every:
            average(self.model, self.optimizer, self.worker)


def _copy_buffers_from_first(model: nn.Module, worker: WorkerContext) -> None:
    if worker.world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def start_alike(model: nn.Module, worker: WorkerContext) -> None:
    """Copy the first worker's parameters and buffers to all workers."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor, src=0)


@torch.no_grad()
def average(model: nn.Module, optimizer: torch.optim.Optimizer, worker: WorkerContext) -> None:
    """The mean over all workers of parameters, of buffers that are not whole numbers, and of the optimiser's moments.

    Other buffers are the first worker's.
    """
    if worker.world_size == 1:
        return
    moments = (value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor))
    shared = [*model.parameters(), *model.buffers(), *(moment for moment in moments if moment.ndim > 0)]
    averaged = [tensor for tensor in shared if tensor.is_floating_point() or tensor.is_complex()]
    for group in _messages(averaged):
        message = torch.cat([tensor.flatten() for tensor in group])
        dist.all_reduce(message)
        message /= worker.world_size
        for tensor, mean in zip(group, torch.split(message, [tensor.numel() for tensor in group]), strict=True):
            tensor.copy_(mean.view_as(tensor))
    for tensor in model.buffers():
        if not (tensor.is_floating_point() or tensor.is_complex()):
            dist.broadcast(tensor, src=0)


def _messages(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of the same type, as many as fit into one message."""
    group: list[Tensor] = []
    for tensor in tensors:
        size = sum(other.numel() for other in group)
        if group and (tensor.dtype != group[0].dtype or size + tensor.numel() > TOGETHER):
            yield group
            group = []
        group.append(tensor)
    if group:
        yield group
