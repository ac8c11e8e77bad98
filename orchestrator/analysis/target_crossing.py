"""When a run reached its target: optimiser steps, examples and seconds of training.

Readings are taken a few times per run, so the moment is interpolated: on the straight line between the reading before
the first that is there and that one. Where the first reading of all is there already, it is that reading's, a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.sweep.spec import Mode, Objective
from trainables.results import Report


@dataclass(frozen=True)
class Crossing:
    """Where a run first reached the target, interpolated between two readings."""

    steps: float
    examples: float
    seconds: float
    is_bound: bool = False  # the first reading of all was there already: it may have happened long before


def crossing(history: Sequence[Report], metric: str, mode: Mode, target: float) -> Crossing | None:
    """None if no reading is at least (`max`) or at most (`min`) the target. A NaN reaches nothing."""
    before: Report | None = None
    for report in history:
        value = report.metrics.get(metric, math.nan)
        if value >= target if mode == "max" else value <= target:
            return _between(before, report, metric, target)
        before = report if math.isfinite(value) else None
    return None


def target_crossing(history: Sequence[Report], objective: Objective) -> Crossing | None:
    """Where a run reached the objective's target; None if it did not, or if there is none."""
    if objective.target is None:
        return None
    return crossing(history, objective.metric, objective.mode, objective.target)


def _between(before: Report | None, after: Report, metric: str, target: float) -> Crossing:
    if before is None:
        return Crossing(after.step, after.examples, after.seconds, is_bound=True)
    low, high = before.metrics[metric], after.metrics[metric]
    share = (target - low) / (high - low)  # the first is short of the target and the second is not: never 0 / 0
    if not math.isfinite(share):
        share = 1.0
    return Crossing(
        before.step + share * (after.step - before.step),
        before.examples + share * (after.examples - before.examples),
        before.seconds + share * (after.seconds - before.seconds),
    )
