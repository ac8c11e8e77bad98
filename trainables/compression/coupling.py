"""Finds channels that must be removed together: the same position in all heads or groups, or in a gated layer's halves.

A layer that computes gate and value at once (`chunk`, `split`, slices, `F.glu`) has pairs of channels, one in each
half. If channels were chosen one by one, the weakest of each half would take their partners with them, and far more
channels than requested would be removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from trainables.compat import F_GLU
from trainables.compression.structure import LAYERS
from trainables.measure.artifact import ModelInputs
from trainables.measure.plain_outputs import tensors

Together = Callable[[list[int]], list[int]]  # channels of a layer -> these and all that must go with them


@dataclass(frozen=True)
class ChannelChoice:
    """The channels to remove from a layer, so that a multiple remains, and whether they only go in sets."""

    lost: list[int]
    multiple: int
    coupled: bool = False


class GluInParts(TorchFunctionMode):
    """A mode in which `F.glu` is a chunk and a product, which torch-pruning can follow, unlike glu itself."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func is F.glu or func is F_GLU:
            value, gate = self._halves(*args, **kwargs)
            return value * gate.sigmoid()
        return func(*args, **kwargs)

    def _halves(self, input: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
        value, gate = input.chunk(2, dim=dim)
        return value, gate


def block_places(width: int, blocks: int) -> Tensor:
    """The units of `blocks` blocks of equal size, shape [units, blocks]: one position of every block each."""
    return torch.arange(width).view(blocks, width // blocks).T


def coupled(units: Tensor, together: Together) -> Tensor | None:
    """`units`, joined if they must go together, shape [fewer units, channels]; None if the results differ in size."""
    numbers = {channel: number for number, unit in enumerate(units.tolist()) for channel in unit}
    joined = list(range(len(units)))  # union-find: each unit's representative; the first of a set represents itself

    def first(number: int) -> int:
        while joined[number] != number:
            joined[number] = number = joined[joined[number]]
        return number

    for number, unit in enumerate(units.tolist()):
        for channel in together(unit):
            one, other = sorted((first(number), first(numbers[channel])))
            joined[other] = one
    sets: dict[int, list[int]] = {}
    for number, unit in enumerate(units.tolist()):
        sets.setdefault(first(number), []).extend(unit)
    if len({len(channels) for channels in sets.values()}) != 1:
        return None
    return torch.tensor([sorted(channels) for channels in sets.values()])


def weakest(scores: Tensor, units: Tensor, share: Fraction) -> list[int]:
    """The channels of this share of the units, the least important ones first removed, by mean importance. In order."""
    order = scores[units].mean(1).argsort()[: int(share * len(units))]
    return sorted(units[order].flatten().tolist())


def multiple(round_to: int, blocks: int, units: Tensor) -> int:
    """The multiple in which channels must remain: whole units, and `round_to` in each half."""
    return math.lcm(round_to * (units.shape[1] // blocks), units.shape[1])


@torch.no_grad()
def outputs_without(model: nn.Module, example: ModelInputs, graph: Any, group: Any) -> Any:
    """The outputs when no layer reads the group's channels, which the pruned model must reproduce.

    Changes the weights in place; None if an unknown kind of layer reads the channels.
    """
    for dep, channels in group:
        if graph.is_in_channel_pruning_fn(dep.handler) and isinstance(dep.layer, LAYERS):
            plain = isinstance(dep.layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
            if not plain or getattr(dep.layer, "groups", 1) > 1:
                return None
            dep.layer.get_parameter("weight").detach()[:, channels] = 0
    return model(*example)


@torch.no_grad()
def differ(expected: Any, got: Any) -> bool:
    """Whether two outputs differ by more than rounding."""
    pairs = zip(tensors(expected), tensors(got), strict=True)
    return any(
        not torch.allclose(one, other, rtol=1e-3, atol=1e-4 * float(one.abs().max()))
        for one, other in pairs
        if one.is_floating_point()
    )
