"""The arithmetic of batches: budgets in steps, the factors of a batch, and the steps of the evaluations.

Imports no torch: a plan uses it to say, before anything runs, how many steps every trial takes.
"""

from __future__ import annotations

import math
from fractions import Fraction

from trainables.config.training import Budget


def steps_for(budget: Budget, batch_size: int, train_rows: int | None = None) -> int | None:
    """Whole optimiser steps that fit the budget, rounded down; None for a budget in seconds, where only time tells.

    `train_rows` is needed for epochs alone. Raises ValueError if it is missing or if not one step fits.
    """
    amount = Fraction(str(budget.amount))  # as written: 0.1 epochs of 1000 rows are 100 rows, not 99.999...
    match budget.unit:
        case "seconds":
            return None
        case "steps":
            steps = int(amount)
        case "examples":
            steps = int(amount / batch_size)
        case "epochs":
            if train_rows is None:
                raise ValueError("a budget in epochs needs the number of training rows")
            steps = int(amount * train_rows / batch_size)
    if steps < 1:
        raise ValueError(f"a budget of {budget.amount:g} {budget.unit} ends before one step of batch size {batch_size}")
    return steps


def examples_in(budget: Budget, train_rows: int | None) -> Fraction:
    """A budget in examples or epochs as a number of examples. Raises ValueError for other budgets."""
    amount = Fraction(str(budget.amount))
    if budget.unit == "examples":
        return amount
    if budget.unit == "epochs" and train_rows is not None:
        return amount * train_rows
    raise ValueError(f"a budget of {budget.amount:g} {budget.unit} is no number of examples")


def part_of(budget: Budget, fraction: float) -> Budget:
    """A fraction of a budget, both as written: 0.57 of 100 steps are 57, not the 56.999... of their product."""
    return budget.model_copy(update={"amount": float(Fraction(str(budget.amount)) * Fraction(str(fraction)))})


def split_batch(batch_size: int, num_workers: int, micro_batch_limit: int | None = None) -> tuple[int, int]:
    """(micro_batch_size, accumulation_steps): the largest micro-batch within the limit that divides a worker's share.

    Raises ValueError if the batch cannot be shared equally among the workers, or if the limit is below 1.
    """
    if batch_size < 1 or num_workers < 1:
        raise ValueError(f"batch size {batch_size} and number of workers {num_workers} must be at least 1")
    if batch_size % num_workers:
        raise ValueError(f"batch size {batch_size} is not a multiple of {num_workers} workers")
    if micro_batch_limit is not None and micro_batch_limit < 1:
        raise ValueError(f"micro-batch limit {micro_batch_limit} must be at least 1")
    share = batch_size // num_workers
    limit = micro_batch_limit or share
    small = [size for size in range(1, math.isqrt(share) + 1) if share % size == 0]
    micro_batch_size = max(size for size in (*small, *(share // size for size in small)) if size <= limit)
    return micro_batch_size, share // micro_batch_size


def report_shares(evaluations: int) -> tuple[Fraction, ...]:
    """The shares of the budget at which evaluations are made: evenly spread to its end, and three before the first.

    The three are at an eighth, a quarter and a half of the first even one. Two batch sizes can be compared after equal
    steps only between the first evaluation of the smaller size, which takes more steps, and the end of the larger. With
    the three, this is possible up to a size ratio of eight times `evaluations`; without them, up to `evaluations`: with
    10 over 6000 examples, batch 16 is first evaluated after 38 steps, but batch 256 ends after 23. The cost is three
    more evaluations in every run. With one evaluation there is only the one at the end.
    """
    even = [Fraction(i, evaluations) for i in range(1, evaluations + 1)]
    early = [even[0] / part for part in (8, 4, 2)] if evaluations > 1 else []
    return *early, *even


def report_steps(total_steps: int, evaluations: int) -> tuple[int, ...]:
    """The steps of the evaluations: the first step at or beyond each share, never two at one step."""
    return tuple(sorted({math.ceil(total_steps * share) for share in report_shares(evaluations)}))


def micro_batch_rows(rows: int, micro_batch_size: int) -> list[int]:
    """Rows of each micro-batch when `rows` rows are divided; the last one is smaller if they do not divide."""
    full, rest = divmod(rows, micro_batch_size)
    return [micro_batch_size] * full + ([rest] if rest else [])
