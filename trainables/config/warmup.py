"""How long a warm-up takes, as a share of a training's budget. Imports no torch."""

from __future__ import annotations

from fractions import Fraction

from trainables.config.batching import examples_in
from trainables.config.schedules import Schedule, WarmsUp
from trainables.config.training import Budget, Training


def warmup_share(schedule: WarmsUp, budget: Budget, batch_size: int, train_rows: int | None) -> float:
    """The part of the budget that the warm-up takes, from 0 to below 1.

    Steps of a batch that grows are counted as steps of the first one. Raises ValueError where the budget is in seconds
    (or in epochs of rows that are not known) and the warm-up is not a fraction, and where it outlasts the budget.
    """
    if schedule.warmup_fraction is not None:
        return schedule.warmup_fraction
    examples = schedule.warmup_examples or (schedule.warmup_steps or 0) * batch_size
    in_steps = budget.unit == "steps"
    whole = Fraction(str(budget.amount)) * batch_size if in_steps else examples_in(budget, train_rows)
    if examples >= whole:
        length = f"{schedule.warmup_steps} steps" if schedule.warmup_steps else f"{examples} examples"
        raise ValueError(f"a warm-up of {length} is not over before the budget of {budget.amount:g} {budget.unit} is")
    return float(examples / whole)


def with_warmup_share(training: Training, train_rows: int) -> Schedule:
    """The schedule of a training with its warm-up as a fraction. Raises ValueError as `warmup_share` does."""
    schedule = training.schedule
    if not isinstance(schedule, WarmsUp) or schedule.warmup_fraction is not None:
        return schedule
    share = warmup_share(schedule, training.budget, training.batch_size, train_rows)
    return schedule.model_copy(update={"warmup_fraction": share, "warmup_steps": None, "warmup_examples": None})
