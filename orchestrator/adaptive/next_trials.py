"""The trials that results add to a plan: further baselines and, after the last of them, the variants.

A sweep whose file lists all trials adds none. Each kind of growth gets results as they arrive, and considers only the
trials that they affect; `batch_size: auto`, which has few trials, considers all of them.
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
    """The baselines that follow from results."""

    @property
    def added(self) -> Sequence[Trial]:
        """The baselines added so far, beyond the plan's own."""

    @property
    def missing(self) -> Collection[str]:
        """Trials that must end before the growth is complete; until then no variant's parent is chosen."""

    def learn(self, results: Results, new: Sequence[str]) -> Sequence[Trial]:
        """All trials that follow from the results, including those returned before.

        `results`: of all ended baselines and probes; `new`: the ids of those that are new since the last call.
        """

    def pending(self) -> tuple[PendingVariant, ...]:
        """The variants: of the plan's own trials during growth, of all trials afterwards."""


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
        from orchestrator.adaptive.rate_edges import EdgeSearch  # imports numpy, which a plan does not need

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
    """Trials that differ only by seed, as tuples; those of one batch size are adjacent, in the plan's order."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.config.model_dump_json(exclude={"training": {"seed"}}), []).append(trial)
    by_size: dict[int, list[SeedGroup]] = defaultdict(list)
    for group in groups.values():
        by_size[group[0].training.batch_size].append(tuple(group))
    return [configuration for same in by_size.values() for configuration in same]
