"""From results to further trials: baselines that results ask for, and which baselines are compressed. Pure, so that
a resumed sweep decides the same.

A choice waits until every one of its candidates has ended. Then configurations are ranked by the mean of the
objective over the seeds that completed. Only validation figures take part; a configuration that lost seeds (diverged,
out of memory, stopped early) ranks after all those that lost fewer, because the mean of the lucky seeds alone flatters
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from orchestrator.plan import Choice, PendingVariant, Plan, Trial
from orchestrator.planning.expand import variant_trial
from orchestrator.spec import Objective
from orchestrator.stages.growth import grown
from trainables.results import Status, TrialResult

Results = Mapping[str, TrialResult]


@dataclass(frozen=True)
class Waiting:
    """The parent cannot be chosen yet: these candidates have not ended."""

    pending: PendingVariant
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """The parent is chosen, and so the variant is a trial."""

    pending: PendingVariant
    trial: Trial


@dataclass(frozen=True)
class Dropped:
    """Nothing is left to compress. `trial`, the variant of the parent that failed, ends as `parent_failed`.

    There is no such trial where no parent failed: it was stopped early, which is no failure, it has no figure to choose
    by, or `top` asks for more configurations than there are.
    """

    pending: PendingVariant
    reason: str
    trial: Trial | None


Decision = Waiting | Ready | Dropped


def decide(plan: Plan, results: Results) -> tuple[Decision, ...]:
    """What has become of every pending variant, in the order of the plan.

    While baselines are still to be asked for (see orchestrator.stages), every variant waits for those that run.
    """
    return _decide(*grown(plan, results), results)


def _decide(plan: Plan, awaited: tuple[str, ...], results: Results) -> tuple[Decision, ...]:
    ranked: dict[Choice, list[tuple[str, ...]]] = {}
    decisions: list[Decision] = []
    for pending in plan.pending:
        missing = awaited or tuple(trial for trial in pending.candidates if trial not in results)
        if missing:
            decisions.append(Waiting(pending, missing))
            continue
        choice = pending.choice
        if choice not in ranked:
            ranked[choice] = rank_configurations(choice.configurations, results, plan.sweep.objective)
        parent = _parent(pending, ranked[choice], results)
        if parent is None:
            failed = _failed_parent(pending, ranked[choice], results)
            lost = None if failed is None else variant_trial(plan.by_id[failed], pending.chain, plan)
            decisions.append(Dropped(pending, _why_none(pending, ranked[choice], results), lost))
        else:
            decisions.append(Ready(pending, variant_trial(plan.by_id[parent], pending.chain, plan)))
    return tuple(decisions)


@dataclass(frozen=True)
class Outlook:
    """What the results so far make of a plan."""

    trials: tuple[
        Trial, ...
    ]  # beyond the plan's own, each once: baselines asked for, variants whose parents have ended
    dropped: tuple[Dropped, ...]  # the variants that nothing is left for, each with the reason
    waiting: int  # variants
    is_settled: bool  # nothing waits any more: there will be no further trials, whatever else happens

    @property
    def known(self) -> tuple[Trial, ...]:
        """All that is known beyond the plan's own trials: those that can run, and the variants of failed parents."""
        return (*self.trials, *(lost.trial for lost in self.dropped if lost.trial is not None))


def outlook(plan: Plan, results: Results) -> Outlook:
    larger, awaited = grown(plan, results)
    decisions = _decide(larger, awaited, results)
    ready = (made.trial for made in decisions if isinstance(made, Ready))
    waiting = sum(isinstance(made, Waiting) for made in decisions)
    return Outlook(
        trials=tuple({trial.id: trial for trial in (*larger.trials[len(plan.trials) :], *ready)}.values()),
        dropped=tuple(made for made in decisions if isinstance(made, Dropped)),
        waiting=waiting,
        is_settled=not awaited and not waiting,
    )


def resolve(plan: Plan, results: Results) -> tuple[Trial, ...]:
    """The trials beyond the plan's own that can run now, given the results by trial id."""
    return outlook(plan, results).trials


def settled(plan: Plan, results: Results) -> bool:
    """Whether `resolve` will give no further trials, whatever else happens."""
    return outlook(plan, results).is_settled


def rank_configurations(
    configurations: tuple[tuple[str, ...], ...], results: Results, objective: Objective
) -> list[tuple[str, ...]]:
    """The configurations that have at least one completed trial, best first; ties go to the earlier in the plan.

    All their trials must be in `results`.
    """

    def scores(configuration: tuple[str, ...]) -> list[float]:
        return [value for trial in configuration if (value := _score(results[trial], objective)) is not None]

    def order(configuration: tuple[str, ...]) -> tuple[int, float]:
        values = scores(configuration)
        mean = fmean(values)
        return len(configuration) - len(values), -mean if objective.mode == "max" else mean

    return sorted(filter(scores, configurations), key=order)


def _score(result: TrialResult, objective: Objective) -> float | None:
    """The objective of a completed trial; None where there is no finite figure to choose by."""
    estimate = result.metrics.get(objective.metric)
    if result.status is not Status.COMPLETED or estimate is None or not isfinite(estimate.value):
        return None
    return estimate.value


def _parent(pending: PendingVariant, ranked: list[tuple[str, ...]], results: Results) -> str | None:
    if len(ranked) < pending.choice.rank:
        return None
    configuration = ranked[pending.choice.rank - 1]
    trials = configuration if pending.seed_index is None else (configuration[pending.seed_index],)
    return next((trial for trial in trials if results[trial].status is Status.COMPLETED), None)


def _failed_parent(pending: PendingVariant, ranked: list[tuple[str, ...]], results: Results) -> str | None:
    """Where there is none to choose, the one that would have been: configurations that failed rank after the sound."""
    sound = set(ranked)
    order = [*ranked, *(c for c in pending.choice.configurations if c not in sound)]
    if len(order) < pending.choice.rank:
        return None
    parent = order[pending.choice.rank - 1][pending.seed_index or 0]
    return None if results[parent].status in (Status.COMPLETED, Status.STOPPED_EARLY) else parent


def _why_none(pending: PendingVariant, ranked: list[tuple[str, ...]], results: Results) -> str:
    if len(ranked) >= pending.choice.rank and pending.seed_index is not None:
        trial = ranked[pending.choice.rank - 1][pending.seed_index]
        return f"its parent {trial} ended as {results[trial].status.value}"
    endings: dict[str, int] = {}
    for trial in pending.candidates:
        status = results[trial].status.value
        endings[status] = endings.get(status, 0) + 1
    counts = ", ".join(f"{count} {status}" for status, count in sorted(endings.items()))
    return f"no configuration is left to compress ({pending.rule}: {counts})"
