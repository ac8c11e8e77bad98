"""The learning rate over a training."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from trainables.config.schedules import (
    Constant,
    CustomSchedule,
    OneCycle,
    Polynomial,
    Schedule,
    StepDecay,
    WarmsUp,
    WarmupCosine,
    WarmupLinear,
    WarmupStableDecay,
)
from trainables.error_text import first_line
from trainables.training.named_function import NamedFunctionError, named_function


def learning_rate_factor(schedule: Schedule, progress: float) -> float:
    """Learning rate over its peak at `progress`, the part of the budget already spent, from 0 to 1.

    Warm-up is linear (Goyal et al. 2017, arXiv 1706.02677), a cosine that of Loshchilov & Hutter 2017 (arXiv
    1608.03983). The first step of a warm-up has rate 0 only if the step takes no part of the budget. Raises
    NamedFunctionError for a user's function that gives no such number, and ValueError for a warm-up that is no
    fraction: see `config.warmup`.
    """
    progress = min(max(progress, 0.0), 1.0)
    match schedule:
        case Constant():
            return 1.0
        case CustomSchedule():
            return _custom(schedule, progress)
        case OneCycle(warmup_fraction=float(warmup), start_fraction=start, final_fraction=final):
            if progress < warmup:
                return 1 - (1 - start) * _half_cosine(progress / warmup)
            return final + (1 - final) * _half_cosine((progress - warmup) / (1 - warmup))
        case WarmsUp(warmup_fraction=float(warmup)):
            return progress / warmup if progress < warmup else _after_warmup(schedule, progress, warmup)
    raise ValueError(f"the warm-up of {schedule.name} is no fraction of the budget")


def _after_warmup(schedule: WarmsUp, progress: float, warmup: float) -> float:
    match schedule:
        case WarmupCosine(final_fraction=final):
            cosine = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
            return final + (1 - final) * cosine
        case WarmupLinear(final_fraction=final):
            return 1 - (1 - final) * (progress - warmup) / (1 - warmup)
        case Polynomial(final_fraction=final, power=power):
            left = (1 - progress) / (1 - warmup)
            return final + (1 - final) * float(left**power)
        case WarmupStableDecay(final_fraction=final, decay=shape):
            start = max(warmup, 1 - schedule.decay_fraction)
            spent = max(0.0, progress - start) / (1 - start)
            return 1 - (1 - final) * (spent if shape == "linear" else math.sqrt(spent))
        case StepDecay(at=points, factor=factor):
            return float(factor ** sum(progress >= point for point in points))
    raise TypeError(f"{type(schedule).__name__} is no schedule")


def _half_cosine(spent: float) -> float:
    """From 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * spent))


def _custom(schedule: CustomSchedule, progress: float) -> float:
    says = f"schedule {schedule.function!r}"
    try:
        factor = float(_function(schedule.function)(progress, **schedule.arguments))
    except NamedFunctionError:
        raise
    except Exception as error:  # a user's function may fail in any way
        said = f"{type(error).__name__}: {first_line(error)}"
        raise NamedFunctionError(f"{says} fails at progress {progress:g} with {schedule.arguments}: {said}") from error
    if not 0 <= factor < math.inf:
        raise NamedFunctionError(f"{says} gives {factor:g} at progress {progress:g}: it must be finite, 0 or above")
    return factor


@lru_cache(maxsize=8)
def _function(name: str) -> Any:
    return named_function(name, "schedule")
