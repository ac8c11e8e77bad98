"""Batches that grow during training: when, by how much, and with which learning rate. Imports no torch.

Growing the batch in the place of decaying the rate: Smith et al. 2017 (arXiv 1711.00489). Growing it with the gradient
noise scale: McCandlish et al. 2018 (arXiv 1812.06162), section 2.4; doubt: see `noise_scale`. What grows is the number
of accumulation steps. The micro-batch, which is known to fit in memory, stays.
"""

from __future__ import annotations

import math
from fractions import Fraction

from trainables.config.training import BatchSchedule, FixedBatch, GrowAt, GrowWithNoise


def boundaries(schedule: BatchSchedule, budget_examples: Fraction) -> list[int]:
    """Examples after which the batch grows, as far as that is known beforehand."""
    match schedule:
        case GrowAt(examples=tuple(examples)):
            return list(examples)
        case GrowAt(fractions=tuple(fractions)):
            return [math.ceil(budget_examples * Fraction(str(fraction))) for fraction in fractions]
        case _:
            return []


def planned_growth(schedule: BatchSchedule, budget_examples: Fraction, examples: int) -> int:
    """Ratio of the batch size to the initial one after this number of examples of a `grow_at`; 1 for the others."""
    if not isinstance(schedule, GrowAt):
        return 1
    return int(schedule.factor ** sum(examples >= boundary for boundary in boundaries(schedule, budget_examples)))


def growth_with_noise(schedule: BatchSchedule, growth: int, batch_size: int, noise_scale: float | None) -> int:
    """The growth after an evaluation: one factor more if the larger batch is still at most the noise scale.

    `batch_size`: the initial one. `noise_scale` in examples, or its lower bound; None if both are unknown, and the
    batch does not grow.
    """
    if not isinstance(schedule, GrowWithNoise) or noise_scale is None:
        return growth
    larger = growth * schedule.factor
    return larger if larger <= schedule.at_most and batch_size * larger <= noise_scale else growth


def rate_factor(schedule: BatchSchedule, growth: int) -> float:
    """The factor on the learning rate when the batch has grown this much."""
    if isinstance(schedule, FixedBatch):
        return 1.0
    return {"unchanged": 1.0, "linear": float(growth), "sqrt": math.sqrt(growth)}[schedule.learning_rate]


def work_of_budget(schedule: BatchSchedule, budget_examples: Fraction, batch_size: int) -> tuple[int, int]:
    """(whole steps that fit the budget, their examples); with `grow_with_noise` as if nothing grew: the most steps."""
    steps = examples = 0
    while True:
        size = batch_size * planned_growth(schedule, budget_examples, examples)
        taken = steps_until_change(schedule, budget_examples, examples, size)
        if taken == 0:
            return steps, examples
        steps, examples = steps + taken, examples + taken * size


def steps_until_change(schedule: BatchSchedule, budget_examples: Fraction, examples: int, size: int) -> int:
    """Steps of `size` examples until the batch grows or the budget is spent; 0 when it is."""
    fitting = max(0, int((budget_examples - examples) / size))
    later = [boundary for boundary in boundaries(schedule, budget_examples) if boundary > examples]
    return min(fitting, -(-(later[0] - examples) // size)) if later else fitting
