"""Determines whether the outputs of a task are class scores or numbers, from its own loss and its labels.

A loss that knows its outputs through a softmax alone, as cross_entropy does, stays the same when the scores of all
classes grow by the same amount; so adding amounts that are constant along one dimension shows whether, and along which,
there are classes. Sizes alone do not: two numbers per row look like two classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.errors import ParetuneError

Losses = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
UNCHANGED = 1e-3  # of what noise of the same size does to a loss
OVERRIDE = "override distillation_losses() to say how far two outputs are apart"


class OutputsError(ParetuneError, TypeError):
    """Whether the outputs are class scores or numbers is not determined; the message names the reason and the
    way out.
    """


@dataclass(frozen=True)
class Outputs:
    """`classes`: the dimension of the class scores, or None for numbers. `item_dims`: leading ones that make an item.

    For scores [rows, classes, height, width] with a loss for every pixel: 1, and 3 of the dimensions that are left.
    """

    classes: int | None
    item_dims: int

    def per_item(self, values: Tensor) -> Tensor:
        """The mean over what belongs to one item, shape [items]; `values` has no dimension of classes any more."""
        return values.flatten(self.item_dims).mean(-1).flatten() if values.ndim > self.item_dims else values.flatten()


class ReadColumns(Mapping[str, Tensor]):
    """A batch that notes which of its columns are read."""

    def __init__(self, batch: Mapping[str, Tensor]) -> None:
        self.batch = batch
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.read.add(name)
        return self.batch[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.batch)

    def __len__(self) -> int:
        return len(self.batch)


def what_outputs_are(losses: Losses, outputs: Tensor, batch: Mapping[str, Tensor]) -> Outputs:
    """Of `outputs`, shape [rows, ...] or [rows x items, ...]. Calls `losses` a few times; draws no random numbers.

    Raises OutputsError where it cannot be told.
    """
    outputs, noted = outputs.detach().float(), ReadColumns(batch)
    with torch.no_grad(), torch.random.fork_rng(devices=[outputs.device] if outputs.is_cuda else []):
        shape, items = list(outputs.shape), losses(outputs, noted).numel()
        found = _invariant(losses, outputs, batch)
    labels = {name: batch[name] for name in sorted(noted.read)}
    told = f"outputs of shape {shape}, and losses() reads {_words(labels) or 'no column'}"
    match found:
        case []:
            classes = None
            fits = any(label.is_floating_point() or label.numel() == outputs.numel() for label in labels.values())
        case [classes]:
            per_class = outputs.numel() // shape[classes]
            fits = any(label.numel() in (per_class, outputs.numel()) for label in labels.values())
        case _:
            fits = False
    if not fits:
        raise OutputsError(f"whether the outputs are class scores or numbers is not determined ({told}): {OVERRIDE}")
    rest = shape if classes is None else [*shape[:classes], *shape[classes + 1 :]]
    counts = [math.prod(rest[: dims + 1]) for dims in range(len(rest))]
    if items not in counts:
        raise OutputsError(f"losses() gives {items} losses for {told}, which are no rows or items of these: {OVERRIDE}")
    return Outputs(classes, counts.index(items) + 1)


def _invariant(losses: Losses, outputs: Tensor, batch: Mapping[str, Tensor]) -> list[int]:
    """The dimensions along which the same amount may be added to all outputs without any loss becoming another."""

    def effect(shape: list[int]) -> float:
        torch.manual_seed(0)
        amounts = torch.randn(shape, device=outputs.device)
        torch.manual_seed(0)
        before = losses(outputs, batch)
        torch.manual_seed(0)
        return float((losses(outputs + amounts, batch) - before).abs().max())

    any_change = effect(list(outputs.shape))
    dims = [dim for dim in range(1, outputs.ndim) if outputs.shape[dim] > 1]
    shapes = {dim: [1 if other == dim else size for other, size in enumerate(outputs.shape)] for dim in dims}
    return [dim for dim, shape in shapes.items() if effect(shape) <= UNCHANGED * any_change]


def _words(labels: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} ({str(x.dtype).removeprefix('torch.')} {list(x.shape)})" for name, x in labels.items())
