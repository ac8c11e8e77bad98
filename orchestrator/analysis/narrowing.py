"""Finds the reasons for a recommendation: the goals, the configurations set aside, the steps of the selection rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.analysis.effort import SAME
from orchestrator.analysis.goals import GoalResult, GoalVerdict
from orchestrator.analysis.latencies import latency_batches, latency_ratio
from orchestrator.analysis.reasons import (
    AmongFastest,
    AsGoodAsBest,
    BestObjective,
    Faster,
    FasterTraining,
    FewestSteps,
    LostSeeds,
    NoneMeasured,
    NoneWithinGoals,
    NothingEnded,
    NoTrials,
    OnFront,
    Reason,
    SetAside,
    Smaller,
    TieBroken,
)
from orchestrator.analysis.rows import WAITING, Configuration, Row
from orchestrator.analysis.selection_rule import Choice, Step, Tie
from orchestrator.analysis.statistics import ROUNDING, Summary
from orchestrator.analysis.table import SweepTable
from orchestrator.sweep.metrics import sign_of


def nothing(table: SweepTable) -> NoTrials | NothingEnded | NoneMeasured:
    """Why no trial can be recommended, regardless of goals."""
    statuses = Counter(row.status for row in table.rows)
    if not statuses:
        return NoTrials()
    if set(statuses) == {WAITING}:
        return NothingEnded()
    return NoneMeasured(tuple(statuses.most_common()))


def none_within_goals(nearest: Configuration, row: Row, judged: Mapping[str, tuple[GoalResult, ...]]) -> Reason:
    all_miss = all(any(r.verdict is GoalVerdict.MISSED for r in each) for each in judged.values())
    return NoneWithinGoals(len(judged), all_miss, nearest, row, judged[nearest.key])


def set_aside(table: SweepTable, meeting: Sequence[Configuration], within: Sequence[Configuration]) -> list[Reason]:
    """The configurations that would have been within the goals, but lost seeds."""
    aside = tuple(lost_seeds(table, c) for c in meeting if c not in within)
    return [SetAside(aside)] if aside else []


def lost_seeds(table: SweepTable, configuration: Configuration) -> LostSeeds:
    parent = table.parent_of(configuration)
    lost = configuration.lost if parent is configuration else (*parent.broken, *configuration.lost)
    return LostSeeds(configuration, len(lost), len(parent.rows), tuple(dict.fromkeys(row.status for row in lost)))


def among_fastest(within: Sequence[Configuration]) -> list[Reason]:
    if len(within) < 2:
        return []
    return [AmongFastest(tuple(sorted({c.training.batch_size for c in within})))]


def narrowing(table: SweepTable, choice: Choice, by_key: Mapping[str, Configuration]) -> list[Reason]:
    """The steps of the rule that narrowed the choice, in order."""
    found, before = _objective(table, choice, by_key), len(by_key)
    for step, left in choice.kept.items():
        if step is not Step.OBJECTIVE and left < before:
            found.append(_narrowed(step, choice, by_key[choice.chosen.key], before, left))
        before = left
    return found


def _objective(table: SweepTable, choice: Choice, by_key: Mapping[str, Configuration]) -> list[Reason]:
    metric = table.plan.objective.metric
    chosen, leader = by_key[choice.chosen.key], by_key[choice.leader.key]
    own, best = chosen.summary(metric), leader.summary(metric)
    if own is None or best is None:  # impossible, as candidates have the objective
        return []
    is_best_of_all = not _better_elsewhere(table, choice, by_key)
    if choice.is_best:
        return [BestObjective(own, choice.kept[Step.OBJECTIVE] - 1, len(by_key), is_best_of_all)]
    difference = choice.differences[chosen.key]
    figures = (choice.margin, choice.margin_is_goal, len(by_key), is_best_of_all)
    return [AsGoodAsBest(own, best, leader, difference, *figures)]


def _better_elsewhere(table: SweepTable, choice: Choice, by_key: Mapping[str, Configuration]) -> bool:
    """Whether the table shows a better objective than that of any candidate."""
    objective, sign = table.plan.objective, sign_of(table.plan.objective.mode)
    shown = table.variants if by_key[choice.chosen.key].kind == "variant" else table.baselines
    others = [c.summary(objective.metric) for c in shown if c is not by_key.get(c.key)]
    means = [sign * summary.mean for summary in others if summary is not None]
    best = sign * choice.leader.mean
    return any(mean - best > ROUNDING * abs(best) for mean in means)


def _narrowed(step: Step, choice: Choice, chosen: Configuration, of: int, left: int) -> Reason:
    figures = choice.chosen
    match step:
        case Step.LATENCY:
            return Faster(of, left, latencies(chosen), _within_percent(choice))
        case Step.SIZE:
            return Smaller(of, left, figures.artifact_bytes or 0.0)
        case Step.FRONT:
            return OnFront(of, left)
        case Step.WORK:
            return FewestSteps(of, left, figures.effort)
        case Step.SECONDS:
            return FasterTraining(of, left, figures.effort.seconds if figures.effort else None)
        case _:
            decided = set(choice.settled.values())
            return TieBroken(of, tuple(tie for tie in Tie if tie in decided))


def _within_percent(choice: Choice) -> bool:
    """Whether all candidates kept by the latency step are within 5 % of the fastest, without need of intervals."""
    gone = (Step.OBJECTIVE, Step.LATENCY)
    speeds = [c.speed for key, c in choice.candidates.items() if choice.dropped.get(key) not in gone and c.speed]
    return max(speeds) <= SAME * min(speeds)


def latencies(configuration: Configuration) -> dict[int, Summary]:
    ratios = {batch: latency_ratio(configuration, batch) for batch in latency_batches([configuration])}
    return {batch: ratio for batch, ratio in ratios.items() if ratio is not None}
