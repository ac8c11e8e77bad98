"""When a run reached its target: optimiser steps, examples and seconds of training.

A run has only a few evaluations, so the moment is interpolated linearly between the first evaluation at the target and
the one before it. If the very first evaluation is at the target already, its own figures are used, as an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.sweep.spec import Mode, Objective
from trainables.results import Report


@dataclass(frozen=True)
class Crossing:
    """Where a run first reached the target, interpolated between two evaluations."""

    steps: float
    examples: float
    seconds: float
    is_bound: bool = False  # the very first evaluation was at the target: it may have been reached long before


def crossing(history: Sequence[Report], metric: str, mode: Mode, target: float) -> Crossing | None:
    """None if no evaluation is at least (`max`) or at most (`min`) the target. A NaN never reaches it."""
    before: Report | None = None
    for report in history:
        value = report.metrics.get(metric, math.nan)
        if value >= target if mode == "max" else value <= target:
            return _between(before, report, metric, target)
        before = report if math.isfinite(value) else None
    return None


def target_crossing(history: Sequence[Report], objective: Objective) -> Crossing | None:
    """Where a run reached the objective's target; None if it did not, or if there is no target."""
    if objective.target is None:
        return None
    return crossing(history, objective.metric, objective.mode, objective.target)


def _between(before: Report | None, after: Report, metric: str, target: float) -> Crossing:
    if before is None:
        return Crossing(after.step, after.examples, after.seconds, is_bound=True)
    low, high = before.metrics[metric], after.metrics[metric]
    share = (target - low) / (high - low)  # only the second is at the target, so low and high differ
    if not math.isfinite(share):
        share = 1.0
    return Crossing(
        before.step + share * (after.step - before.step),
        before.examples + share * (after.examples - before.examples),
        before.seconds + share * (after.seconds - before.seconds),
    )
