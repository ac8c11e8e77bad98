"""The training work of a trial: optimiser steps and examples, from its budget alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from trainables.config.batch_schedule import work_of_budget
from trainables.config.batching import examples_in, part_of, steps_for
from trainables.config.compression import Compression, Distill, FineTune, Int8, Prune
from trainables.config.training import Budget, Training
from trainables.config.trial import AnyTrialConfig, BaselineConfig, ProbeConfig, VariantConfig


@dataclass(frozen=True)
class Work:
    """Training work. Each of the three adds up over trials; a sum with an unknown part is unknown (None).

    A budget in seconds does not determine steps or examples; one in epochs does, once the number of rows is known.
    """

    steps: int | None = 0
    examples: int | None = 0
    seconds: float = 0.0

    def __add__(self, other: Work) -> Work:
        steps, examples = known_sum([self.steps, other.steps]), known_sum([self.examples, other.examples])
        return Work(steps, examples, self.seconds + other.seconds)


def known_sum(counts: Iterable[int | None]) -> int | None:
    """The sum; None if a part is unknown."""
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def known_most(counts: Iterable[int | None]) -> int | None:
    """The largest; None if one is unknown."""
    known = list(counts)
    return None if None in known else max(count for count in known if count is not None)


def work_of(config: AnyTrialConfig, train_rows: int | None) -> Work:
    """The training of one trial. Raises ValueError if a budget does not suffice for one step."""
    match config:
        case BaselineConfig(training=training):
            return baseline_work(training, train_rows)
        case VariantConfig(training=training, chain=chain):
            return chain_work(chain, training, train_rows)
        case ProbeConfig():
            return Work()  # its steps train nothing, and their number is not known in advance


def baseline_work(training: Training, train_rows: int | None) -> Work:
    """The work of a whole training run. With `grow_with_noise`, the number of steps is an upper bound."""
    budget = training.budget
    if training.batch_schedule.name == "fixed" or (budget.unit == "epochs" and train_rows is None):
        return budget_work(budget, training.batch_size, train_rows)
    return Work(*work_of_budget(training.batch_schedule, examples_in(budget, train_rows), training.batch_size))


def chain_work(chain: tuple[Compression, ...], training: Training, train_rows: int | None) -> Work:
    """The work of a chain: its methods train for fractions of the parent's budget, at the parent's batch size."""
    parts = (part_of(training.budget, fraction) for fraction in budget_fractions(chain))
    return sum((budget_work(part, training.batch_size, train_rows) for part in parts), Work())


def budget_work(budget: Budget, batch_size: int, train_rows: int | None) -> Work:
    """The work of a whole budget at a constant batch size. Raises ValueError if it does not suffice for one step."""
    if budget.unit == "seconds":
        return Work(None, None, budget.amount)
    if budget.unit == "epochs" and train_rows is None:
        return Work(None, None)  # unknown before the task is imported
    steps = steps_for(budget, batch_size, train_rows) or 0
    return Work(steps, steps * batch_size)


def takes_a_step(budget: Budget, batch_size: int, train_rows: int | None) -> bool:
    """Whether the budget suffices for one step; True also if that is unknown (seconds, or epochs before the import)."""
    try:
        budget_work(budget, batch_size, train_rows)
    except ValueError:
        return False
    return True


def budget_fractions(chain: tuple[Compression, ...]) -> list[float]:
    """The parts of the parent's budget that the methods of a chain train for; none for those that do not train."""
    fractions = []
    for step in chain:
        match step:
            case FineTune(budget_fraction=fraction) | Distill(budget_fraction=fraction):
                fractions.append(fraction)
            case Prune(fine_tune=FineTune(budget_fraction=fraction)):
                fractions.append(fraction)
            case Int8():
                pass
            case _:
                assert_never(step)
    return fractions
