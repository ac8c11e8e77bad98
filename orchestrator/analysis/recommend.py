"""The recommendation: one configuration, the reasons with their figures, the runner-up, the caveats.

candidates   variants that ran to their end (the uncompressed model is one); baselines, if nothing was compressed.
             A configuration that lost a seed (diverged, out of memory, failed) only if there is no other
within       those that meet every goal; if none does, nothing is recommended and the nearest is shown: the one with
             the fewest goals that are not determined and, of these, the smallest sum of shortfalls, each in units of
             its goal's limit
the rule     see selection_rule.py; the runner-up is the same rule's choice without the first one
the trial    of the chosen configuration's seeds, the one with the best validation objective (among those that meet
             the goals by themselves); it flatters itself by that choice, so the figures quoted are the means
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean

from orchestrator.analysis import caveats as doubts
from orchestrator.analysis.batch_verdict import BatchVerdict
from orchestrator.analysis.caveats import Caveat
from orchestrator.analysis.effort import Effort
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.goals import GoalResult, distance, is_against_parent, judge, meets
from orchestrator.analysis.latencies import latency_batches, latency_ratio
from orchestrator.analysis.narrowing import among_fastest, narrowing, none_within_goals, nothing, set_aside
from orchestrator.analysis.reasons import Reason, WithinGoals
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.analysis.runner_up import RunnerUp, loss_by_goals, loss_by_rule
from orchestrator.analysis.selection_rule import Candidate, Choice, choose
from orchestrator.analysis.statistics import of_one
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.training_advice import training_advice
from orchestrator.sweep.metrics import sign_of
from orchestrator.sweep.spec import Goal
from trainables.estimate import Estimate


@dataclass(frozen=True)
class Recommendation:
    """`row` is None if nothing can be recommended; `nearest` is then the configuration closest to the goals, if any."""

    row: Row | None
    configuration: Configuration | None
    reasons: tuple[Reason, ...]
    caveats: tuple[Caveat, ...] = ()
    goals: tuple[GoalResult, ...] = ()  # of the configuration, or of the nearest
    runner_up: RunnerUp | None = None
    nearest: Configuration | None = None
    nearest_row: Row | None = None


def recommend(evidence: Evidence) -> Recommendation:
    """Apply the rule to the trials that have ended so far."""
    table = evidence.table
    candidates = comparable(evidence)
    if not candidates:
        return Recommendation(None, None, (nothing(table),), tuple(doubts.progress(table)))
    goals = goals_for(table, candidates)
    judged = {c.key: judge(table, c, goals) for c in candidates}
    meeting = [c for c in candidates if meets(judged[c.key])]
    if not meeting:
        nearest = min(candidates, key=lambda c: (distance(judged[c.key]), c.key))
        row = best_row(table, nearest, goals)
        return Recommendation(
            None,
            None,
            (none_within_goals(nearest, row, judged),),
            (*doubts.progress(table), *doubts.noisy_latencies(evidence)),
            judged[nearest.key],
            nearest=nearest,
            nearest_row=row,
        )

    within = table.whole(meeting)
    choice = _choose(evidence, within)
    by_key = {c.key: c for c in within}
    chosen = by_key[choice.chosen.key]
    row = best_row(table, chosen, goals)
    second = _runner_up(evidence, within, candidates, chosen, choice, goals, judged)
    reasons = (
        WithinGoals(len(meeting), len(candidates), judged[chosen.key]),
        *set_aside(table, meeting, within),
        *(among_fastest(within) if not table.variants and as_fast(evidence.batch) else ()),
        *narrowing(table, choice, by_key),
        *training_advice(evidence, chosen, row),
    )
    caveats = (
        *doubts.progress(table),
        *doubts.without_figure(table),
        *doubts.noisy_latencies(evidence),
        *doubts.shared_machine(evidence),
        *_better_trained(evidence, chosen),
        *doubts.of_configuration(evidence, chosen, row, [g for g in table.plan.goals if g not in goals]),
        *doubts.few_seeds(table, chosen, second.configuration if second else None),
    )
    return Recommendation(row, chosen, reasons, caveats, judged[chosen.key], second)


def comparable(evidence: Evidence) -> list[Configuration]:
    """The measured variants, or the baselines if there are no variants; only those with a finite objective."""
    table = evidence.table
    return _usable(table, table.variants) or _usable(table, as_fast(evidence.batch)) or _usable(table, table.baselines)


def _usable(table: SweepTable, configurations: Iterable[Configuration]) -> list[Configuration]:
    summaries = ((c, c.summary(table.plan.objective.metric)) for c in configurations)
    return [c for c, summary in summaries if summary is not None and math.isfinite(summary.mean)]


def as_fast(verdict: BatchVerdict | None) -> list[Configuration]:
    """With `batch_size: auto`, the baselines that are not detectably slower to the target than the best.

    With their fresh seeds only, because the trial that led to their selection is biased. None without a verdict, and in
    other sweeps.
    """
    if verdict is None or verdict.fastest is None:
        return []
    return [contender.configuration for contender in verdict.not_slower]


def goals_for(table: SweepTable, candidates: Sequence[Configuration]) -> list[Goal]:
    """The goals that apply to these candidates: a baseline has no parent, so only thresholds apply to it."""
    relative_too = candidates[0].kind == "variant"
    return [goal for goal in table.plan.goals if relative_too or not is_against_parent(goal)]


def best_row(table: SweepTable, configuration: Configuration, goals: Sequence[Goal]) -> Row:
    """The trial with the best objective, among those that meet the goals themselves (among all, if none does)."""
    metric, sign = table.plan.objective.metric, sign_of(table.plan.objective.mode)
    rows = [row for row in configuration.measured if row.value(metric) is not None]
    alone = [row for row in rows if meets(judge(table, Configuration(configuration.key, (row,)), goals))]
    return max(alone or rows, key=lambda row: (sign * (row.value(metric) or 0.0), -row.seed))


def candidate(
    table: SweepTable, configuration: Configuration, front: Collection[str], effort: Effort | None
) -> Candidate:
    """The figures of a configuration for the rule. `front`: the keys of the configurations on the Pareto front."""
    metric = table.plan.objective.metric
    results = {row.seed: row.result for row in configuration.measured if row.result is not None}
    rows = {seed: result.metrics[metric] for seed, result in results.items() if metric in result.metrics}
    halves = [half for estimate in rows.values() if (half := of_one(estimate).half_width) is not None]
    size, took = configuration.summary("artifact_bytes"), speed(configuration)
    return Candidate(
        key=configuration.key,
        objective=configuration.values(metric),
        resolution=sum(halves) / len(halves) if halves else 0.0,
        speed=took.value if took else None,
        artifact_bytes=size.mean if size else None,
        effort=effort,
        on_front=configuration.key in front,
        batch_size=configuration.training.batch_size,
        rows=rows,
        speed_interval=None if took is None or took.low is None or took.high is None else (took.low, took.high),
    )


def speed(configuration: Configuration) -> Estimate | None:
    """Latency over the parent's compiled latency: geometric mean over the measured batch sizes; below 1 is faster.

    The interval's ends are the geometric means of the ratios' ends. This is conservative: it assumes that all ratios
    err in the same direction.
    """
    summaries = [latency_ratio(configuration, batch) for batch in latency_batches([configuration])]
    ratios = [summary for summary in summaries if summary is not None]
    if not ratios and configuration.compression == "uncompressed":
        return Estimate(value=1.0, low=1.0, high=1.0)  # the reference itself
    if not ratios or not all(ratio.mean > 0 and math.isfinite(ratio.mean) for ratio in ratios):
        return None
    lows = [max(ratio.low, 0.0) for ratio in ratios if ratio.low is not None]
    highs = [ratio.high for ratio in ratios if ratio.high is not None]
    value = geometric_mean(ratio.mean for ratio in ratios)
    if not len(lows) == len(highs) == len(ratios):
        return Estimate(value=value)
    return Estimate(value=value, low=geometric_mean(lows) if all(lows) else 0.0, high=geometric_mean(highs))


def _better_trained(evidence: Evidence, chosen: Configuration) -> list[Caveat]:
    """The caveat that the rule prefers a training that was not compressed, as parents are ranked by objective only."""
    table = evidence.table
    trained = table.whole(_usable(table, table.baselines)) if chosen.kind == "variant" else []
    if not trained:
        return []
    key = _choose(evidence, trained).chosen.key
    return doubts.better_training(table, next(c for c in trained if c.key == key), chosen)


def _choose(evidence: Evidence, configurations: Sequence[Configuration]) -> Choice:
    table, objective = evidence.table, evidence.table.plan.objective
    tolerances = [g.value for g in table.plan.goals if g.metric == objective.metric and g.type == "max-degradation"]
    front = evidence.front if configurations[0].kind == "variant" else frozenset()
    candidates = [candidate(table, c, front, evidence.efforts.get(table.parent_of(c).key)) for c in configurations]
    if evidence.not_quiet:
        candidates = [replace(one, speed=None, speed_interval=None) for one in candidates]
    by_key = {c.key: c for c in configurations}

    def beside(one: str, other: str) -> list[Mapping[int, float]]:
        return table.beside(by_key[one], by_key[other], objective.metric)

    return choose(candidates, objective.mode, min(tolerances, default=None), beside)


def _runner_up(
    evidence: Evidence,
    within: Sequence[Configuration],
    candidates: Sequence[Configuration],
    chosen: Configuration,
    choice: Choice,
    goals: Sequence[Goal],
    judged: dict[str, tuple[GoalResult, ...]],
) -> RunnerUp | None:
    """The rule's choice without the first one; if nothing else meets the goals, the nearest of those that miss."""
    table = evidence.table
    others = [c for c in within if c is not chosen]
    if others:
        key = _choose(evidence, others).chosen.key
        second = next(c for c in others if c.key == key)
        loss, step = loss_by_rule(table, choice, chosen, second), choice.dropped[second.key]
        return RunnerUp(second, best_row(table, second, goals), step, loss)
    missing = [c for c in candidates if c is not chosen]
    if not missing:
        return None
    second = min(missing, key=lambda c: (distance(judged[c.key]), c.key))
    return RunnerUp(second, best_row(table, second, goals), None, loss_by_goals(table, second, judged[second.key]))
