"""Derives further trials from results: added baselines, and variants of chosen baselines. Pure, so that a resumed sweep
decides the same.

A choice waits until all of its candidates have ended. Then configurations are ranked by the mean objective over the
seeds that completed, on validation data only. A configuration that lost seeds (diverged, out of memory, stopped early)
ranks after all that lost fewer, because the mean of its remaining seeds is too good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from orchestrator.adaptive.next_trials import growth_of
from orchestrator.adaptive.rate_edges import Results
from orchestrator.planning.variants import variant_trial
from orchestrator.sweep.plan import PendingVariant, Plan, Trial
from orchestrator.sweep.spec import Objective
from trainables.results import Status, TrialResult


@dataclass(frozen=True)
class Waiting:
    """The parent cannot be chosen yet: these trials have not ended."""

    pending: PendingVariant
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """The parent is chosen, so the variant is a trial."""

    pending: PendingVariant
    trial: Trial


@dataclass(frozen=True)
class Dropped:
    """There is no model to compress. `trial`, the variant of the failed parent, ends as `parent_failed`.

    `trial` is None if no parent failed: it was stopped early, which is not a failure, it has no finite objective, or
    `top` requests more configurations than there are.
    """

    pending: PendingVariant
    reason: str
    trial: Trial | None


VariantDecision = Waiting | Ready | Dropped


class Outlook:
    """The state of a plan under the results so far. Each new result updates it, at a cost proportional to its effects.

    While baselines may still be added (see orchestrator.adaptive), every variant waits. Afterwards each waits only for
    the candidates of its own choice.
    """

    def __init__(self, plan: Plan) -> None:
        """`plan` as expanded."""
        self.plan = plan
        self.asked: list[Trial] = []  # trials beyond the plan's own, each once, in order of arrival; append-only
        self.dropped: list[Dropped] = []  # variants without a model to compress; append-only
        self._asked_ids: set[str] = set()
        self._lost_ids: set[str] = set()  # ids of variants dropped because their parent failed
        self._results: dict[str, TrialResult] = {}  # of baselines and probes: results of variants add no trials
        self._by_id = dict(plan.by_id)
        self._growth = growth_of(plan)
        self._choices: _Choices | None = None  # set once no baseline can be added any more

    def learn(self, results: Iterable[TrialResult]) -> None:
        """Add new results; known ones are ignored."""
        new = [r for r in results if r.config.kind != "variant" and r.id not in self._results]
        self._results.update((result.id, result) for result in new)
        if self._choices is None:
            for trial in self._growth.learn(self._results, [result.id for result in new]):
                self._ask_for(trial)
            if self._growth.missing:
                return
            self._by_id |= {trial.id: trial for trial in self._growth.added}
            self._choices = _Choices(self._growth.pending(), self._results)
        for number in self._choices.complete(result.id for result in new):
            self._decide(self._choices, number)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Trials beyond the plan's own, each once, in the plan's order: added baselines, variants with ended
        parents.
        """
        decided = self._choices.decisions if self._choices else ()
        ready = (made.trial for made in decided if isinstance(made, Ready))
        return tuple({trial.id: trial for trial in (*self._growth.added, *ready)}.values())

    @property
    def decisions(self) -> tuple[VariantDecision, ...]:
        """The decision about every variant, in the order of the plan."""
        if self._choices is None:
            awaited = tuple(self._growth.missing)
            return tuple(Waiting(pending, awaited) for pending in self._growth.pending())
        return tuple(
            made or Waiting(pending, tuple(trial for trial in pending.candidates if trial not in self._results))
            for pending, made in zip(self._choices.pending, self._choices.decisions, strict=True)
        )

    @property
    def known(self) -> tuple[Trial, ...]:
        """All known trials beyond the plan's own: those that can run, and the variants of failed parents."""
        return (*self.trials, *(lost.trial for lost in self.dropped if lost.trial is not None))

    @property
    def waiting(self) -> int:
        """Variants whose parent cannot be chosen yet."""
        return self._choices.waiting if self._choices else len(self._growth.pending())

    @property
    def total(self) -> int:
        """The number of known trials of the sweep; a waiting variant counts as one."""
        return len(self.plan.trials) + self.beyond + self.waiting

    @property
    def beyond(self) -> int:
        """The number of known trials beyond the plan's own."""
        return len(self.asked) + len(self._lost_ids)

    @property
    def is_settled(self) -> bool:
        """Whether no variant waits any more, so that there will be no further trials."""
        return self._choices is not None and not self._choices.waiting

    def _ask_for(self, trial: Trial) -> None:
        if trial.id not in self._asked_ids:
            self._asked_ids.add(trial.id)
            self.asked.append(trial)

    def _decide(self, choices: _Choices, number: int) -> None:
        pending = choices.pending[number]
        ranked = choices.ranked(number, self._results, self.plan.sweep.objective)
        parent = _parent(pending, ranked, self._results)
        decision: Ready | Dropped
        if parent is not None:
            decision = Ready(pending, variant_trial(self._by_id[parent], pending.chain, self.plan))
            self._ask_for(decision.trial)
        else:
            failed = _failed_parent(pending, ranked, self._results)
            lost = None if failed is None else variant_trial(self._by_id[failed], pending.chain, self.plan)
            decision = Dropped(pending, _why_none(pending, ranked, self._results), lost)
            self.dropped.append(decision)
            self._lost_ids |= set() if lost is None else {lost.id}
        choices.decide(number, decision)


class _Choices:
    """The variants of a plan whose baselines are complete, each with the candidates that it waits for."""

    def __init__(self, pending: tuple[PendingVariant, ...], results: Results) -> None:
        self.pending = pending
        self.decisions: list[Ready | Dropped | None] = [None] * len(pending)
        self.waiting = len(pending)
        self._ranked: dict[int, list[tuple[str, ...]]] = {}  # by id() of the choice object, which the plan keeps
        self._numbers: dict[int, list[int]] = defaultdict(list)  # choice -> its variants
        self._missing: dict[int, set[str]] = {}  # choice -> candidates that have not ended
        self._choices_of: dict[str, list[int]] = defaultdict(list)  # candidate -> choices
        for number, variant in enumerate(pending):
            choice = id(variant.choice)
            if choice not in self._missing:
                self._missing[choice] = {trial for trial in variant.candidates if trial not in results}
                for trial in self._missing[choice]:
                    self._choices_of[trial].append(choice)
            self._numbers[choice].append(number)
        self._complete = [choice for choice, missing in self._missing.items() if not missing]

    def complete(self, ended: Iterable[str]) -> list[int]:
        """The variants whose last candidates have just ended, in order."""
        complete, self._complete = self._complete, []
        for trial in ended:
            for choice in self._choices_of.pop(trial, ()):
                self._missing[choice].discard(trial)
                if not self._missing[choice]:
                    complete.append(choice)
        return sorted(number for choice in complete for number in self._numbers[choice])

    def ranked(self, number: int, results: Results, objective: Objective) -> list[tuple[str, ...]]:
        choice = self.pending[number].choice
        if id(choice) not in self._ranked:
            self._ranked[id(choice)] = rank_configurations(choice.configurations, results, objective)
        return self._ranked[id(choice)]

    def decide(self, number: int, decision: Ready | Dropped) -> None:
        self.decisions[number] = decision
        self.waiting -= 1


def outlook(plan: Plan, results: Results) -> Outlook:
    """The state of an expanded plan under these results."""
    ahead = Outlook(plan)
    ahead.learn(results.values())
    return ahead


def decide_variants(plan: Plan, results: Results) -> tuple[VariantDecision, ...]:
    """The decision about every variant, in the order of the plan."""
    return outlook(plan, results).decisions


def further_trials(plan: Plan, results: Results) -> tuple[Trial, ...]:
    """The trials beyond the plan's own that can run now, given the results (by trial id)."""
    return outlook(plan, results).trials


def settled(plan: Plan, results: Results) -> bool:
    """Whether `resolve` can give no further trials."""
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
    """The objective of a completed trial; None if it is not finite."""
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
    """If no candidate can be chosen, the failed one that would have been: failed configurations rank last."""
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
