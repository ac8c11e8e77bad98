"""The normalisations that a convolutional network can be built with: they differ in which values share a mean.

batch   one channel over the rows of a micro-batch (Ioffe and Szegedy 2015, arXiv 1502.03167)
ghost   one channel over `ghost_size` rows at a time (Hoffer et al. 2017, arXiv 1705.08741): a large batch is normalised
        as small ones are. The last group takes what is left over, so that it is never smaller than `ghost_size`.
sync    one channel over the micro-batches of all workers together; with one worker it is `batch`
group   some channels of one row (Wu and He 2018, arXiv 1803.08494): rows do not influence each other

In evaluation the first three use running statistics, and are one and the same.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn

Norm = Literal["batch", "ghost", "sync", "group"]
NORMS: tuple[str, ...] = get_args(Norm)
GROUPS = 8


def norm_layer(norm: str, channels: int, ghost_size: int) -> nn.Module:
    """The layer for images [rows, channels, height, width]. Raises ValueError for a name that is not in NORMS."""
    match norm:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "ghost":
            return GhostBatchNorm2d(channels, ghost_size)
        case "sync":
            return SyncBatchNorm2d(channels)
        case "group":
            return nn.GroupNorm(math.gcd(GROUPS, channels), channels)
    raise ValueError(f"norm {norm!r} is not one of {', '.join(NORMS)}")


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over groups of `ghost_size` consecutive rows; running statistics take one step for each group."""

    def __init__(self, channels: int, ghost_size: int) -> None:
        super().__init__(channels)
        if ghost_size < 1:
            raise ValueError(f"ghost_size {ghost_size} must be at least 1")
        self.ghost_size = ghost_size

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        groups = max(1, len(input) // self.ghost_size)
        starts = range(self.ghost_size, self.ghost_size * groups, self.ghost_size)
        return torch.cat([super(GhostBatchNorm2d, self).forward(rows) for rows in torch.tensor_split(input, [*starts])])


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the rows of all workers, on any device (torch's own has kernels for accelerators alone).

    All workers must go forward and backward together. The variance is summed around the common mean.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        values = input if input.dtype == torch.float64 else input.float()
        count = torch.full((1,), values.numel() / values.shape[1], dtype=values.dtype, device=values.device)
        sums = _sum_over_workers(torch.cat([values.sum((0, 2, 3)), count]))
        mean = (sums[:-1] / sums[-1]).view(1, -1, 1, 1)
        total = sums[-1].detach()
        variance = _sum_over_workers((values - mean).square().sum((0, 2, 3))) / total
        self._follow(mean.detach().flatten(), variance.detach() * total / (total - 1).clamp(min=1))
        normalised = (values - mean) * torch.rsqrt(variance.view(1, -1, 1, 1) + self.eps)
        outputs = normalised * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return outputs.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Running statistics, as batch norm keeps them."""
        assert self.running_mean is not None and self.running_var is not None  # noqa: S101, PT018 - for the type checker
        momentum = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def _sum_over_workers(values: Tensor) -> Tensor:
    result: Tensor = _SumOverWorkers.apply(values)  # type: ignore[no-untyped-call]
    return result


class _SumOverWorkers(torch.autograd.Function):
    """Every worker's loss depends on the sum, so the gradient of what a worker put in is the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
