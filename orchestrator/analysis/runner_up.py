"""Why the runner-up is only second: the step at which the rule dropped it, or the goals that it misses.

One value for each reason, with both figures; `orchestrator.wording.runner_up` turns it into a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analysis.effort import Effort
from orchestrator.analysis.goals import GoalResult, GoalVerdict
from orchestrator.analysis.narrowing import latencies, lost_seeds
from orchestrator.analysis.reasons import Latencies, LostSeeds
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.analysis.selection_rule import Candidate, Choice, Step, Tie
from orchestrator.analysis.statistics import Difference, Summary
from orchestrator.analysis.table import SweepTable


@dataclass(frozen=True)
class WorseObjective:
    own: Summary | None
    difference: Difference | None  # from the best; None if they share no seed


@dataclass(frozen=True)
class SlowerModel:
    latencies: Latencies  # its own; empty where they were not measured
    is_certain: bool  # the intervals of both are known


@dataclass(frozen=True)
class LatencyNotMeasured:
    latencies: Latencies  # of the batch sizes at which it was


@dataclass(frozen=True)
class LargerModel:
    own: Summary | None  # bytes
    chosen: Summary | None


@dataclass(frozen=True)
class MoreTraining:
    own: Effort | None
    chosen: Effort | None


@dataclass(frozen=True)
class SlowerTraining:
    own: float | None  # seconds
    chosen: float | None


@dataclass(frozen=True)
class OffFront:
    """Another configuration is at least as good in every figure and better in one."""


@dataclass(frozen=True)
class LostTie:
    """Equal in every step; the figure that decided the tie."""

    by: Tie
    own: Candidate
    chosen: Candidate


@dataclass(frozen=True)
class OutsideGoals:
    missed: tuple[GoalResult, ...]


Loss = (
    WorseObjective | SlowerModel | LatencyNotMeasured | LargerModel | MoreTraining | SlowerTraining | OffFront | LostTie
    | OutsideGoals | LostSeeds
)  # fmt: skip


@dataclass(frozen=True)
class RunnerUp:
    configuration: Configuration
    row: Row
    step: Step | None  # the step at which the rule dropped it; None: it is outside the goals, or lost seeds
    loss: Loss


def loss_by_rule(table: SweepTable, choice: Choice, chosen: Configuration, second: Configuration) -> Loss:
    """The figures behind the step that dropped the second."""
    metric = table.plan.objective.metric
    own, best = choice.candidates[second.key], choice.candidates[chosen.key]
    match choice.dropped[second.key]:
        case Step.OBJECTIVE:
            return WorseObjective(second.summary(metric), choice.differences[second.key])
        case Step.LATENCY if own.speed is None:
            return LatencyNotMeasured(latencies(second))
        case Step.LATENCY:
            return SlowerModel(latencies(second), bool(own.speed_interval and best.speed_interval))
        case Step.SIZE:
            return LargerModel(second.summary("artifact_bytes"), chosen.summary("artifact_bytes"))
        case Step.WORK:
            return MoreTraining(own.effort, best.effort)
        case Step.SECONDS:
            return SlowerTraining(*(one.effort.seconds if one.effort else None for one in (own, best)))
        case Step.FRONT:
            return OffFront()
        case Step.TIE:
            return LostTie(choice.settled[second.key], own, best)


def loss_by_goals(table: SweepTable, second: Configuration, results: Sequence[GoalResult]) -> OutsideGoals | LostSeeds:
    """For a configuration that was not a candidate: the goals that it does not meet, or else the seeds that it lost."""
    missed = tuple(result for result in results if result.verdict is not GoalVerdict.MET)
    return OutsideGoals(missed) if missed else lost_seeds(table, second)
