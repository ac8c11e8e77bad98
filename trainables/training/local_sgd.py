"""Workers that train alone and meet every H steps, where they take the mean of their models (local SGD).

Zinkevich et al. 2010 (NIPS, "Parallelized Stochastic Gradient Descent"), Stich 2018 (arXiv 1805.09767). It is what a
group does that cannot afford to exchange gradients at every step; its workers wait for one another only every H steps.
The optimiser's moments are averaged with the parameters (Yu et al. 2019, arXiv 1905.03817), so that all workers hold
the same state after a meeting, and H = 1 with SGD, with or without momentum, is data-parallel training. With Adam it is
not, whose second moment is not linear in the gradient, nor with clipping, which each worker does by its own norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.config.training import Training
from trainables.distributed.worker_context import WorkerContext

TOGETHER = 1 << 22  # elements that travel in one message: fewer messages, and little memory


class ReplicaSync:
    """When workers take over each other's state: batch norm's statistics, or with local SGD the mean of everything."""

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
        """What is read, kept and given back is one model, the same on all workers."""
        if self.every is None:
            _copy_buffers_from_first(self.model, self.worker)
        elif step % self.every:
            average(self.model, self.optimizer, self.worker)


def _copy_buffers_from_first(model: nn.Module, worker: WorkerContext) -> None:
    if worker.world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def start_alike(model: nn.Module, worker: WorkerContext) -> None:
    """All workers take the first one's parameters and buffers."""
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
