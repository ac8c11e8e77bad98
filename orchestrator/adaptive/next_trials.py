"""The trials that results add to a plan: further baselines and, after the last of them, the variants.

A sweep whose every trial stands in its file has nothing to add. Each kind of growth is told of results as they come,
and looks only at what they bear on: `batch_size: auto`, whose trials are few, at all of its trials.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Protocol

from orchestrator.adaptive.rate_edges import Results
from orchestrator.planning.grid import SeedGroup
from orchestrator.planning.variants import chosen_variants, pending_variants
from orchestrator.sweep.plan import PendingVariant, Plan, Trial
from orchestrator.sweep.spec import AutoBatchSize, ScaledLearningRate


class Growth(Protocol):
    """The baselines that results ask for."""

    @property
    def added(self) -> Sequence[Trial]:
        """Those asked for so far, beyond the plan's own."""

    @property
    def missing(self) -> Collection[str]:
        """Trials that must end before it is over; until then no variant's parent is chosen."""

    def learn(self, results: Results, new: Sequence[str]) -> Sequence[Trial]:
        """All trials that the results ask for; some may have been asked for before.

        `results`: of all baselines and probes that have ended; `new`: the ids of those not told of before.
        """

    def pending(self) -> tuple[PendingVariant, ...]:
        """The variants: of the plan's own trials while it grows, of all afterwards."""


def growth_of(plan: Plan) -> Growth:
    """`plan` as expanded."""
    if isinstance(plan.sweep.parameters.batch_size, AutoBatchSize):
        return _Auto(plan)
    rate = plan.sweep.parameters.learning_rate
    if isinstance(rate, ScaledLearningRate) and rate.extend:
        return _BeyondEdges(plan, rate.extend)
    return _Nothing(plan)


class _Nothing:
    def __init__(self, plan: Plan) -> None:
        self.added: tuple[Trial, ...] = ()
        self.missing: tuple[str, ...] = ()
        self._plan = plan

    def learn(self, results: Results, new: Sequence[str]) -> Sequence[Trial]:
        return ()

    def pending(self) -> tuple[PendingVariant, ...]:
        return self._plan.pending


class _BeyondEdges:
    def __init__(self, plan: Plan, limit: int) -> None:
        from orchestrator.adaptive.rate_edges import EdgeSearch  # brings in numpy, which a plan does without

        self._plan = plan
        self._search = EdgeSearch(plan.trials, plan.sweep.objective, limit)

    @property
    def added(self) -> Sequence[Trial]:
        return self._search.added

    @property
    def missing(self) -> Collection[str]:
        return self._search.missing

    def learn(self, results: Results, new: Sequence[str]) -> Sequence[Trial]:
        return self._search.learn(results, new)

    def pending(self) -> tuple[PendingVariant, ...]:
        if self.missing:
            return self._plan.pending
        return tuple(pending_variants(self._plan.sweep, grouped_by_seed((*self._plan.trials, *self.added))))


class _Auto:
    def __init__(self, plan: Plan) -> None:
        from orchestrator.adaptive.auto_search import proceed

        self._plan, self._proceed = plan, proceed
        self._ahead = proceed(plan, {})

    @property
    def added(self) -> Sequence[Trial]:
        return self._ahead.trials

    @property
    def missing(self) -> Collection[str]:
        return self._ahead.missing

    def learn(self, results: Results, new: Sequence[str]) -> Sequence[Trial]:
        self._ahead = self._proceed(self._plan, results)
        return self._ahead.trials

    def pending(self) -> tuple[PendingVariant, ...]:
        return tuple(chosen_variants(self._plan.sweep, self._ahead.chosen)) if not self.missing else ()


def grouped_by_seed(trials: tuple[Trial, ...]) -> list[SeedGroup]:
    """Trials that differ by seed alone, as tuples; those of one batch size beside one another, in the plan's order."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.config.model_dump_json(exclude={"training": {"seed"}}), []).append(trial)
    by_size: dict[int, list[SeedGroup]] = defaultdict(list)
    for group in groups.values():
        by_size[group[0].training.batch_size].append(tuple(group))
    return [configuration for same in by_size.values() for configuration in same]
