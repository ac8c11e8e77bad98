"""The schedules of the learning rate, each with its settings. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from trainables.config.base import FrozenConfig, is_none
from trainables.config.optimizers import NAMED_FUNCTION, Argument


class Constant(FrozenConfig):
    name: Literal["constant"] = "constant"


class WarmsUp(FrozenConfig):
    """A schedule that begins with a linear warm-up, of one length: what is not given is None, and no part of an id."""

    warmup_fraction: float | None = Field(0.05, ge=0, lt=1, exclude_if=is_none)  # of the budget
    warmup_steps: PositiveInt | None = Field(None, exclude_if=is_none)  # in the place of a fraction
    warmup_examples: PositiveInt | None = Field(None, exclude_if=is_none)  # in the place of a fraction

    @model_validator(mode="after")
    def _one_length(self) -> WarmsUp:
        lengths = (self.warmup_steps, self.warmup_examples)
        if "warmup_fraction" not in self.model_fields_set and lengths != (None, None):
            object.__setattr__(self, "warmup_fraction", None)  # it takes the place of the default
        if sum(length is not None for length in (self.warmup_fraction, *lengths)) != 1:
            raise ValueError("needs one of warmup_fraction, warmup_steps and warmup_examples")
        return self


class WarmupCosine(WarmsUp):
    """Linear warm-up, then half a cosine down to `final_fraction` of the peak."""

    name: Literal["warmup_cosine"] = "warmup_cosine"
    final_fraction: float = Field(0.0, ge=0, le=1)


class WarmupLinear(WarmsUp):
    """Linear warm-up, then a straight line down to `final_fraction` of the peak."""

    name: Literal["warmup_linear"] = "warmup_linear"
    final_fraction: float = Field(0.0, ge=0, le=1)


class WarmupStableDecay(WarmsUp):
    """Linear warm-up, the peak, and over the last `decay_fraction` of the budget down to `final_fraction` of it.

    The decay is a straight line or 1 - sqrt, which ended lower (Hägele et al. 2024, arXiv 2405.18392).
    """

    name: Literal["warmup_stable_decay"] = "warmup_stable_decay"
    decay_fraction: float = Field(0.2, gt=0, le=1)  # of the budget
    decay: Literal["linear", "sqrt"] = "linear"
    final_fraction: float = Field(0.0, ge=0, le=1)


class OneCycle(WarmsUp):
    """Half a cosine up from `start_fraction` of the peak, and half a cosine down to `final_fraction` of it.

    Smith & Topin 2017 (arXiv 1708.07120), as torch.optim.lr_scheduler.OneCycleLR; the momentum stays as it is.
    """

    name: Literal["one_cycle"] = "one_cycle"
    warmup_fraction: float | None = Field(0.3, ge=0, lt=1, exclude_if=is_none)  # of the budget
    start_fraction: float = Field(0.04, ge=0, le=1)
    final_fraction: float = Field(4e-6, ge=0, le=1)


class StepDecay(WarmsUp):
    """The peak, times `factor` after each of these fractions of the budget."""

    name: Literal["step"] = "step"
    warmup_fraction: float | None = Field(0.0, ge=0, lt=1, exclude_if=is_none)  # of the budget
    at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field((0.5, 0.75), min_length=1, max_length=64)
    factor: float = Field(0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _ascends(self) -> StepDecay:
        if list(self.at) != sorted(set(self.at)):
            raise ValueError("at must ascend, each fraction once")
        return self


class Polynomial(WarmsUp):
    """(1 - share of the budget after the warm-up)^`power`, down to `final_fraction` of the peak."""

    name: Literal["polynomial"] = "polynomial"
    warmup_fraction: float | None = Field(0.0, ge=0, lt=1, exclude_if=is_none)  # of the budget
    power: PositiveFloat = 2.0
    final_fraction: float = Field(0.0, ge=0, le=1)


class CustomSchedule(FrozenConfig):
    """`function(progress, **arguments)` gives the rate over its peak, 0 or above, at 0 <= progress <= 1 of the budget.

    It must depend on its arguments alone, so that a trial can be resumed. Its code is part of a trial's identity.
    """

    name: Literal["custom"] = "custom"
    function: str = Field(pattern=NAMED_FUNCTION)  # `module:function`
    arguments: dict[str, Argument] = Field({})  # keyword arguments

    def __hash__(self) -> int:  # a dict has none
        return hash(self.model_dump_json())


Schedule = Annotated[
    Constant | WarmupCosine | WarmupLinear | WarmupStableDecay | OneCycle | StepDecay | Polynomial | CustomSchedule,
    Field(discriminator="name"),
]
