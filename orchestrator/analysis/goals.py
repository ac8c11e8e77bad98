"""Whether a configuration meets a goal, by what margin, and whether the margin exceeds the noise.

A goal's margin is positive when it is met, in the metric's own unit (or in percent for the percent goals):

    threshold                 metric at least (or, where less is better, at most) `value`
    min-improvement           gain >= value                 percent-min-improvement   100 gain / |parent| >= value
    max-degradation           gain >= -value                percent-max-degradation   100 gain / |parent| >= -value

`gain` is the improvement of the variant over its own parent, exported and measured uncompressed. If the two were
measured together, the paired figure is used: `val_<m>_change` is paired row by row, and `latency_ratio_batch_<b>` is
timed in alternation, which cancels the drift of the machine. If the control of the same rounds shows that the machine
was not quiet, a latency is not used: a goal on it is not determined, like a goal on a metric that was not measured; the
variant then neither misses the goal nor is recommended. The names of the types are those of Microsoft's Olive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.analysis.latencies import NotQuiet, disturbed
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.analysis.statistics import ROUNDING, Basis, Summary, mean_over_seeds
from orchestrator.analysis.table import SweepTable, make_table
from orchestrator.sweep.metrics import sign_of
from orchestrator.sweep.spec import Goal, Mode
from trainables.estimate import Estimate
from trainables.results import Status, TrialResult

LATENCY_PREFIX = "latency_p50_ms_"


@dataclass(frozen=True)
class NotMeasured:
    metric: str


@dataclass(frozen=True)
class ParentNotMeasured:
    metric: str


@dataclass(frozen=True)
class ParentIsZero:
    """The parent's figure is 0, so no percentage of it exists."""

    metric: str


@dataclass(frozen=True)
class NoParent:
    """A baseline has no parent to be compared with."""


@dataclass(frozen=True)
class NothingMeasured:
    """No trial of the configuration ran to its end."""


WhyNotJudged = NotMeasured | ParentNotMeasured | ParentIsZero | NoParent | NothingMeasured | NotQuiet


class GoalVerdict(StrEnum):
    MET = "met"
    MISSED = "missed"
    NOT_DETERMINED = "not determined"


@dataclass(frozen=True)
class GoalResult:
    """One goal, judged on the point estimate; `within_noise` says that the interval allows the opposite verdict too."""

    goal: Goal
    verdict: GoalVerdict
    margin: Summary | None  # positive if met; in the metric's unit, or in percentage points
    achieved: float | None  # the limited figure: a level, or a gain over the parent, absolute or in percent
    reason: WhyNotJudged | None = None  # why the goal is not determined

    @property
    def within_noise(self) -> bool:
        low, high = (None, None) if self.margin is None else (self.margin.low, self.margin.high)
        return low is not None and high is not None and low < 0 < high

    @property
    def shortfall(self) -> float:
        """The distance to a missed goal, in units of its own limit; 0 if met, infinite if not determined."""
        if self.verdict is GoalVerdict.MET:
            return 0.0
        return math.inf if self.margin is None else -self.margin.mean / (abs(self.goal.value) or 1.0)

    @property
    def is_determined(self) -> bool:
        return self.verdict is not GoalVerdict.NOT_DETERMINED


def is_against_parent(goal: Goal) -> bool:
    """True for goals that compare a variant with its parent; a baseline has no parent to be compared with."""
    return goal.type != "threshold"


def judge(table: SweepTable, configuration: Configuration, goals: Sequence[Goal]) -> tuple[GoalResult, ...]:
    """Every goal, for one configuration; over several seeds the margins are averaged, each against its own parent."""
    return tuple(_judge(table, configuration, goal) for goal in goals)


def meets(results: Sequence[GoalResult]) -> bool:
    """Whether all goals are met. A goal that is not determined is not met."""
    return all(result.verdict is GoalVerdict.MET for result in results)


def judged(table: SweepTable) -> SweepTable:
    """The results, with the status `goal_missed` for variants that ran to their end and miss a goal.

    Each trial is judged by its own point estimate. The stored result is unchanged, as another sweep may have other
    goals.
    """
    if not table.plan.goals:
        return table
    results = {row.id: _judged(table, row, row.result) for row in table.rows if row.result is not None}
    probed = {probe.id: probe.result for probe in table.probes if probe.result is not None}
    return make_table(table.plan, {**results, **probed}, table.damaged)


def _judged(table: SweepTable, row: Row, result: TrialResult) -> TrialResult:
    if row.config.kind != "variant" or not row.config.chain or result.status is not Status.COMPLETED:
        return result
    if not goals_missed(table, row):
        return result
    return result.model_copy(update={"status": Status.GOAL_MISSED})


def goals_missed(table: SweepTable, row: Row) -> list[GoalResult]:
    """The goal results of a single trial."""
    verdicts = judge(table, Configuration("", (row,)), table.plan.goals)
    return [verdict for verdict in verdicts if verdict.verdict is GoalVerdict.MISSED]


def distance(results: Sequence[GoalResult]) -> tuple[int, float]:
    """The distance from the goals, for sorting: the number of undetermined goals, and the sum of all shortfalls."""
    known = [result.shortfall for result in results if result.is_determined]
    return len(results) - len(known), sum(known)


def _judge(table: SweepTable, configuration: Configuration, goal: Goal) -> GoalResult:
    mode = table.plan.direction(goal.metric)
    achieved: list[Estimate] = []
    for row in configuration.measured:
        outcome = _level(row, goal) if goal.type == "threshold" else _gain(table, row, goal, mode)
        if not isinstance(outcome, Estimate):
            return GoalResult(goal, GoalVerdict.NOT_DETERMINED, None, None, outcome)
        achieved.append(outcome)
    if not achieved:
        return GoalResult(goal, GoalVerdict.NOT_DETERMINED, None, None, NothingMeasured())
    margins = [_margin(estimate, goal, mode) for estimate in achieved]
    margin = _combine(margins)
    verdict = GoalVerdict.MET if margin.mean >= -ROUNDING * abs(goal.value) else GoalVerdict.MISSED
    return GoalResult(goal, verdict, margin, sum(e.value for e in achieved) / len(achieved))


def _combine(margins: Sequence[Estimate]) -> Summary:
    """Over seeds; over the rows of the first where that says more: there is no other, or all others are the same."""
    over_seeds, first = mean_over_seeds([margin.value for margin in margins]), margins[0]
    if over_seeds.low is not None or first.low is None or not math.isfinite(over_seeds.mean):
        return over_seeds
    return Summary(over_seeds.mean, first.low, first.high, len(margins), Basis.WITHIN)


def _margin(achieved: Estimate, goal: Goal, mode: Mode) -> Estimate:
    match goal.type:
        case "threshold":
            return _linear(achieved, 1.0, -goal.value) if mode == "max" else _linear(achieved, -1.0, goal.value)
        case "min-improvement" | "percent-min-improvement":
            return _linear(achieved, 1.0, -goal.value)
        case _:
            return _linear(achieved, 1.0, goal.value)


def _level(row: Row, goal: Goal) -> Estimate | WhyNotJudged:
    estimate = row.result.metrics.get(goal.metric) if row.result else None
    if (noise := disturbed(row, goal.metric)) is not None:
        return noise
    return estimate if estimate is not None and math.isfinite(estimate.value) else NotMeasured(goal.metric)


def _gain(table: SweepTable, row: Row, goal: Goal, mode: Mode) -> Estimate | WhyNotJudged:
    """The improvement over the parent; in percent of the parent's figure for percent goals."""
    level = _level(row, goal)
    if not isinstance(level, Estimate) or row.result is None:
        return level
    if row.parent is None:
        return NoParent()
    metrics, percent, sign = row.result.metrics, goal.type.startswith("percent"), sign_of(mode)
    batch = goal.metric.removeprefix(LATENCY_PREFIX)
    if percent and batch != goal.metric and (ratio := metrics.get(f"latency_ratio_{batch}")) is not None:
        return _linear(ratio, -100.0, 100.0)
    stated, reference = metrics.get(f"reference_{goal.metric}"), table.uncompressed(row)
    parent = stated.value if stated is not None else reference.value(goal.metric) if reference is not None else None
    change = metrics.get(f"{goal.metric}_change")
    if change is not None and row.compression == "uncompressed":
        change = Estimate(value=change.value)  # compared with itself: exact
    if (change is None or not math.isfinite(change.value)) and parent is not None:
        change = Estimate(value=level.value - parent)
    if change is None:
        return ParentNotMeasured(goal.metric)
    if not percent:
        return _linear(change, sign, 0.0)
    parent = level.value - change.value if parent is None else parent
    return _linear(change, sign * 100.0 / abs(parent), 0.0) if parent else ParentIsZero(goal.metric)


def _linear(estimate: Estimate, factor: float, offset: float) -> Estimate:
    """factor x estimate + offset; a negative factor swaps the ends of the interval."""
    ends = [None if end is None else factor * end + offset for end in (estimate.low, estimate.high)]
    low, high = ends if factor >= 0 else reversed(ends)
    return Estimate(value=factor * estimate.value + offset, low=low, high=high, n=estimate.n, note=estimate.note)
