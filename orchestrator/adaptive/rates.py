"""The learning rate at a batch size that was not tuned: interpolated between tuned sizes, relative to the sweep's rule.

At each tuned size, the best rate is a multiple of the rule's rate. If both neighbours of the best one also reached the
target, the multiple comes from the parabola through the three, in log steps over log rate, at most half way to a
neighbour. Between sizes, the logarithm of the multiple is interpolated in log B; outside, the nearest size's is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from orchestrator.analysis.predict_batch import fit_part
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import ToTarget, crossings, mean_log_steps, steps_to_target
from orchestrator.planning.auto_design import auto_settings
from orchestrator.planning.scaling import scaled_rates
from orchestrator.sweep.spec import Sweep


def multiplier_at(batch_size: int, table: SweepTable, sweep: Sweep) -> float:
    """The factor on the rule's learning rate, to three significant digits; 1 if no trial reached the target."""
    rows = steps_to_target(fit_part(table))
    if not rows:
        return 1.0
    known = [math.log(row.batch_size) for row in rows]
    logs = [math.log(best_rate_at(row, table) / rule_rate(sweep, row.batch_size)) for row in rows]
    return float(f"{math.exp(float(np.interp(math.log(batch_size), known, logs))):.3g}")


def best_rate_at(row: ToTarget, table: SweepTable) -> float:
    """The rate with the fewest steps at one batch size, refined between its neighbours."""
    points = sorted(
        (math.log(configuration.training.learning_rate), mean_log_steps(found))
        for configuration in fit_part(table).baselines
        if configuration.training.batch_size == row.batch_size
        and (found := crossings(configuration, table.plan.objective))
    )
    rates = [rate for rate, _ in points]
    best = rates.index(math.log(row.configuration.training.learning_rate))
    if not 0 < best < len(points) - 1:
        return row.configuration.training.learning_rate
    return math.exp(vertex(points[best - 1 : best + 2]))


def vertex(points: Sequence[tuple[float, float]]) -> float:
    """The minimum of the parabola through three points, at most half way from the middle one to a neighbour."""
    (x0, y0), (x1, y1), (x2, y2) = points
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    curvature = (right - left) / (x2 - x0)
    if curvature <= 0:
        return x1
    least = (x0 + x1) / 2 - left / (2 * curvature)
    return min(max(least, (x0 + x1) / 2), (x1 + x2) / 2)


def rule_rate(sweep: Sweep, batch_size: int) -> float:
    """The rule's own learning rate."""
    _, rate = auto_settings(sweep)
    ((centre, _),) = scaled_rates(rate.model_copy(update={"multipliers": (1.0,)}), batch_size)
    return centre
