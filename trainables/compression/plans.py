"""The plans that pruning tries on a model, from all channels down to the hidden layers of perceptrons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from trainables.compression.structure import Structure


@dataclass(frozen=True)
class PruningPlan:
    """The layers that may be pruned: all except outputs of `kept`; attention is pruned by heads of equal size.

    `name` and `left` describe the layers that may be pruned, and those left unchanged, in messages.
    """

    name: str
    left: str
    kept: list[nn.Module]
    heads: dict[nn.Module, int]


def pruning_plans(structure: Structure) -> Iterator[PruningPlan]:
    """The plans, the most extensive first; each is tried after the previous one has failed."""
    kept = structure.outputs + structure.feeding_training + structure.recurrent
    yield PruningPlan("all channels", "nothing", kept, structure.attention_heads)
    if structure.shared:
        kept = kept + structure.shared
        yield _outside("layers that share weights", kept, structure.attention_heads)
    cut_up = "layers whose output is cut up or shuffled"
    if structure.multiplied:
        yield _outside("attention", kept + structure.multiplied, {})
    if structure.rearranged:
        yield _outside(cut_up, kept + structure.rearranged, structure.attention_heads)
    kept = kept + structure.multiplied + structure.rearranged
    if structure.multiplied and structure.rearranged:
        yield _outside(f"attention and {cut_up}", kept, {})
    hidden = set(structure.hidden) - set(kept)
    others = [layer for layer in structure.layers if layer not in hidden]
    if hidden:
        yield PruningPlan("hidden layers of perceptrons", "all but hidden layers of perceptrons", others, {})


def _outside(left: str, kept: list[nn.Module], heads: dict[nn.Module, int]) -> PruningPlan:
    return PruningPlan(f"all channels outside {left}", left, kept, heads)
