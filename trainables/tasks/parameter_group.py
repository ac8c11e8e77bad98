"""A group of a model's parameters with its own factors of learning rate and weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class ParameterGroup:
    """Factors, not values: the sweep's learning rate and weight decay, as its rules carry them, are multiplied by them.

    So a group keeps its share of both at every batch size.
    """

    parameters: Iterable[nn.Parameter]  # taken once, so `module.parameters()` may be given
    learning_rate_factor: float = 1.0
    weight_decay_factor: float = 1.0  # 0: none
    is_frozen: bool = False  # not trained; its batch norm still takes statistics

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(self.parameters))
