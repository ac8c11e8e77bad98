"""The Pareto fronts of a sweep: of the variants, to deploy one; of the baselines, to train with one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from orchestrator.analysis.choose import SAME
from orchestrator.analysis.pareto import front, levels
from orchestrator.analysis.table import Configuration, SweepTable
from orchestrator.spec import Mode

LATENCY, LATENCY_RATIO = "latency_p50_ms_batch_", "latency_ratio_batch_"


def deployment_axes(table: SweepTable) -> list[tuple[str, Mode]]:
    """Objective, bytes, and the median latency at each measured batch size."""
    names = {name for c in table.variants for row in c.measured if row.result for name in row.result.metrics}
    latencies = sorted(name for name in names if name.startswith(LATENCY))
    return [(table.plan.objective.metric, table.plan.objective.mode), ("artifact_bytes", "min")] + [
        (name, "min") for name in latencies
    ]


def deployment_front(table: SweepTable) -> frozenset[str]:
    axes = deployment_axes(table)
    figures = [_latencies(table, name) if name.startswith(LATENCY) else _means(table, name) for name, _ in axes]
    points = {c.key: [each.get(c.key, math.nan) for each in figures] for c in table.variants}
    return _front(points, [mode for _, mode in axes])


def _means(table: SweepTable, metric: str) -> dict[str, float]:
    return {variant.key: summary.mean for variant in table.variants if (summary := variant.summary(metric))}


def _latencies(table: SweepTable, metric: str) -> dict[str, float]:
    """As if all variants had been measured at one time, for a machine is now fast, now slow.

    Each one's ratio to its parent, measured in alternation, times the median of what that parent took beside its
    variants; where either is missing, what was measured.
    """
    parents = {variant.key: table.parent_of(variant).key for variant in table.variants}
    ratios, beside = _means(table, metric.replace(LATENCY, LATENCY_RATIO)), _means(table, f"reference_{metric}")
    typical = {
        parent: median(took for key, took in beside.items() if parents[key] == parent)
        for parent in {parents[key] for key in beside}
    }
    return {
        key: ratios[key] * typical[parents[key]] if key in ratios and parents[key] in typical else took
        for key, took in _means(table, metric).items()
    }


def training_front(table: SweepTable) -> frozenset[str]:
    """Objective against the seconds of training to the target (to the end, where there is no target)."""
    objective = table.plan.objective
    points = {}
    for c in table.baselines:
        summary, seconds = c.summary(objective.metric), seconds_to_target(table, c)
        points[c.key] = [math.nan if summary is None else summary.mean, math.nan if seconds is None else seconds]
    return _front(points, [objective.mode, "min"])


def _front(points: dict[str, list[float]], modes: Sequence[Mode]) -> frozenset[str]:
    """`points`: key -> the objective, then costs. Costs within 5 % count as equal, like in the recommendation."""
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
