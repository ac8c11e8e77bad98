"""The Pareto fronts of a sweep: of the variants, for deployment; of the baselines, for training.

A front holds the points that no other point dominates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from orchestrator.analysis.effort import SAME
from orchestrator.analysis.rows import Configuration
from orchestrator.analysis.statistics import Summary
from orchestrator.analysis.table import SweepTable
from orchestrator.sweep.spec import Mode


def deployment_front(table: SweepTable, latencies: Sequence[Mapping[str, Summary]]) -> frozenset[str]:
    """Objective against bytes and the median latency at each measured batch size.

    `latencies`: for each batch size, variant's key -> its latency; empty if the machine was not quiet.
    """
    objective = table.plan.objective
    costs = [_summaries(table, "artifact_bytes"), *latencies]
    figures = [_summaries(table, objective.metric), *costs]
    points = {c.key: [each[c.key].mean if c.key in each else math.nan for each in figures] for c in table.variants}
    lowest: list[Mode] = ["min"] * len(costs)
    return _front(points, [objective.mode, *lowest])


def _summaries(table: SweepTable, metric: str) -> dict[str, Summary]:
    return {variant.key: summary for variant in table.variants if (summary := variant.summary(metric))}


def training_front(table: SweepTable) -> frozenset[str]:
    """Objective against the seconds of training to the target (to the end, without a target)."""
    objective = table.plan.objective
    points = {}
    for c in table.baselines:
        summary, seconds = c.summary(objective.metric), seconds_to_target(table, c)
        points[c.key] = [math.nan if summary is None else summary.mean, math.nan if seconds is None else seconds]
    return _front(points, [objective.mode, "min"])


def _front(points: dict[str, list[float]], modes: Sequence[Mode]) -> frozenset[str]:
    """`points`: key -> the objective, then costs. Costs within 5 % are equal, as in the selection rule."""
    keys = [key for key, point in points.items() if not any(map(math.isnan, point))]
    if not keys:
        return frozenset()
    objective, *costs = zip(*(points[key] for key in keys), strict=True)
    axes = [objective, *(levels(cost, SAME) for cost in costs)]
    return frozenset(keys[index] for index in front(list(zip(*axes, strict=True)), modes))


def seconds_to_target(table: SweepTable, baseline: Configuration) -> float | None:
    """Mean seconds of training to the target, infinite if a seed never got there; without a target, to the end."""
    if table.plan.objective.target is None:
        summary = baseline.summary("train_seconds")
        return summary.mean if summary else None
    reached = baseline.reached(table.plan.objective)
    if not reached:
        return None
    return sum(math.inf if reach is None else reach.seconds for reach in reached) / len(reached)


def dominates(first: Sequence[float], second: Sequence[float], modes: Sequence[Mode]) -> bool:
    """True when `first` is nowhere worse than `second` and somewhere better. Shapes [axes], [axes], [axes]."""
    better = False
    for a, b, mode in zip(first, second, modes, strict=True):
        if a != b:
            if (a < b) != (mode == "min"):
                return False
            better = True
    return better


def levels(values: Sequence[float], ratio: float) -> list[int]:
    """Levels of the values: values with the same integer count as equal. Shape [points], positive.

    In ascending order, a new level begins with a value more than `ratio` times the first one of the previous level. So
    the order is kept, values of one level are within `ratio` of each other, and noise in two timings does not put both
    on the front. Two values in adjacent levels may still be closer than `ratio`.
    """
    level, start = 0, -math.inf
    result = dict[float, int]()
    for value in sorted(set(values)):
        if value > start * ratio:
            level, start = level + 1, value
        result[value] = level
    return [result[value] for value in values]


def front(points: Sequence[Sequence[float]], modes: Sequence[Mode]) -> list[int]:
    """Indices, ascending, of the points that no other point dominates; equal points are on the front together.

    points: shape [points, axes]. Raises ValueError for a NaN, which cannot be ordered: leave such points out. All pairs
    are compared, which takes a second for 1,000 points.
    """
    if any(math.isnan(value) for point in points for value in point):
        raise ValueError("a point has a NaN: leave such points out of a Pareto front")
    return [index for index, point in enumerate(points) if not any(dominates(other, point, modes) for other in points)]
