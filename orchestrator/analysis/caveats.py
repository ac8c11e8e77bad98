"""What to doubt about a recommendation: noise, few seeds, the edge of a grid, unfinished trials. One value for each.

`orchestrator.wording.caveats` turns each into a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.hardware import machine
from orchestrator.analysis.latencies import NotQuiet, disturbed
from orchestrator.analysis.pareto import seconds_to_target
from orchestrator.analysis.rows import WAITING, Configuration, Row
from orchestrator.analysis.sharing import Sharing
from orchestrator.analysis.statistics import SAME_SIGN, Summary, Verdict, paired_difference, pairs_needed
from orchestrator.analysis.table import SweepTable
from orchestrator.sweep.spec import Goal


@dataclass(frozen=True)
class Unfinished:
    waiting: int
    of: int


@dataclass(frozen=True)
class DamagedFiles:
    """Results that cannot be read, so that their trials count as not ended."""

    problems: tuple[str, ...]  # the errors' messages


@dataclass(frozen=True)
class NoFiniteFigure:
    """These trials ran to their end with an objective that is not a finite number. They are not considered."""

    trials: tuple[str, ...]


@dataclass(frozen=True)
class NoisyLatencies:
    """The parent timed against itself was not 1: latencies do not count."""

    worst: NotQuiet
    variants: int  # number of variants for which it was not
    goals_undetermined: bool  # whether a goal limits one of these latencies


@dataclass(frozen=True)
class SharedMachine:
    found: Sharing


@dataclass(frozen=True)
class BetterTraining:
    """The rule, applied to trainings alone, would choose another one than the recommended's; it was not compressed."""

    best: Configuration
    best_objective: Summary | None
    best_seconds: float | None  # to the target, by `pareto.seconds_to_target`
    parent: Configuration
    parent_objective: Summary | None
    parent_seconds: float | None


@dataclass(frozen=True)
class GoalNotAsked:
    """A goal relative to the parent was not checked, as no variant can be compared with a parent."""

    goal: Goal
    variants_broke: bool  # True: no variant ran to its end. False: nothing was compressed


@dataclass(frozen=True)
class SeedBroke:
    row: Row


@dataclass(frozen=True)
class SeedsStopped:
    """Seeds that were stopped early; the mean is over the others."""

    stopped: int
    of: int


@dataclass(frozen=True)
class EdgeOfGrid:
    """The learning rate is the lowest or the highest that was tried: the best one may lie outside."""

    batch_size: int
    learning_rate: float
    edge: str  # lowest, highest


@dataclass(frozen=True)
class SeveralMachines:
    names: tuple[str, ...]


@dataclass(frozen=True)
class TrialWarns:
    """The recommended trial's own warning."""

    text: str


@dataclass(frozen=True)
class OneSeed:
    """The ranking rests on one seed: another seed may give another order."""

    parent_seeds: int  # seeds of its training: more than one of them may be compressed


@dataclass(frozen=True)
class FewSeeds:
    """The first and the second are statistically tied; `needed` seeds would separate them if the difference is real."""

    difference: float
    needed: int
    pairs: int


Caveat = (
    Unfinished | DamagedFiles | NoFiniteFigure | NoisyLatencies | SharedMachine | BetterTraining | GoalNotAsked
    | SeedBroke | SeedsStopped | EdgeOfGrid | SeveralMachines | TrialWarns | OneSeed | FewSeeds
)  # fmt: skip


def progress(table: SweepTable) -> list[Caveat]:
    """Caveats about trials that have not ended, or whose results are damaged."""
    waiting = sum(row.status == WAITING for row in table.rows) - len(table.damaged)
    found: list[Caveat] = [Unfinished(waiting, len(table.rows))] if waiting else []
    return [*found, DamagedFiles(table.damaged)] if table.damaged else found


def without_figure(table: SweepTable) -> list[Caveat]:
    metric = table.plan.objective.metric
    rows = [row for c in (table.variants or table.baselines) for row in c.measured]
    lacking = [row.id for row in rows if (value := row.value(metric)) is not None and not math.isfinite(value)]
    return [NoFiniteFigure(tuple(lacking))] if lacking else []


def noisy_latencies(evidence: Evidence) -> list[Caveat]:
    found, table = evidence.not_quiet, evidence.table
    if not found:
        return []
    asked = any(disturbed(row, goal.metric) for goal in table.plan.goals for c in table.variants for row in c.measured)
    return [NoisyLatencies(found[0], len({one.trial for one in found}), asked)]


def shared_machine(evidence: Evidence) -> list[Caveat]:
    return [SharedMachine(evidence.sharing)] if evidence.sharing is not None else []


def better_training(table: SweepTable, best: Configuration, chosen: Configuration) -> list[Caveat]:
    """`best`: the rule's choice among the trainings alone. Parents are ranked by their objective only."""
    compressed = {row.parent for row in table.rows if row.parent}
    if best.training.batch_size == chosen.training.batch_size or compressed & {row.id for row in best.rows}:
        return []
    metric, parent = table.plan.objective.metric, table.parent_of(chosen)
    figures = [(c, c.summary(metric), seconds_to_target(table, c)) for c in (best, parent)]
    return [BetterTraining(*figures[0], *figures[1])]


def of_configuration(evidence: Evidence, chosen: Configuration, row: Row, not_asked: Sequence[Goal]) -> list[Caveat]:
    """The caveats about one configuration and the trial that represents it."""
    table = evidence.table
    parent = table.parent_of(chosen)
    broken = (*parent.broken, *(chosen.broken if chosen is not parent else ()))
    stopped = len(parent.lost) - len(parent.broken)
    machines = sorted({name for r in table.rows if r.kind == chosen.kind and (name := machine(r))})
    return [
        *(GoalNotAsked(goal, bool(table.variants)) for goal in not_asked),
        *map(SeedBroke, broken),
        *([SeedsStopped(stopped, len(parent.rows))] if stopped else []),
        *(
            EdgeOfGrid(entry.batch_size, parent.training.learning_rate, entry.edge)
            for entry in evidence.tuned
            if entry.best.key == parent.key and entry.edge
        ),
        *([SeveralMachines(tuple(machines))] if len(machines) > 1 else []),
        *(map(TrialWarns, row.result.warnings) if row.result else ()),
    ]


def few_seeds(table: SweepTable, chosen: Configuration, second: Configuration | None) -> list[Caveat]:
    """How many seeds it would take to separate the first from the second."""
    objective = table.plan.objective
    values = chosen.values(objective.metric)
    if len(values) < 2:
        return [OneSeed(len(table.parent_of(chosen).rows))]
    if second is None:
        return []
    beside = table.beside(chosen, second, objective.metric)
    difference = paired_difference(values, second.values(objective.metric), objective.mode, beside)
    if difference is None or difference.deviation is None or not difference.mean:
        return []
    if difference.verdict is not Verdict.NO_DIFFERENCE:
        return []
    needed = pairs_needed(difference.deviation, abs(difference.mean)) if difference.deviation else SAME_SIGN
    return [FewSeeds(abs(difference.mean), needed, difference.pairs)]
