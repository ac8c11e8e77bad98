"""What results add to a plan: further baselines, and once there are no more, the variants of all of them.

A sweep whose every trial stands in its file has nothing to add, and is answered at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.plan import Plan, Trial
from orchestrator.planning.expand import Configuration, chosen_variants, pending_variants
from orchestrator.spec import AutoBatchSize, ScaledLearningRate
from trainables.results import TrialResult

Results = Mapping[str, TrialResult]


@dataclass(frozen=True)
class _Answer:
    """The last answer and what it was asked with: ledger, display and plan keeper all ask after every trial's end."""

    plan: Plan
    results: dict[str, TrialResult]
    grown: tuple[Plan, tuple[str, ...]]

    def answers(self, plan: Plan, results: Results) -> bool:
        known = self.results
        return plan is self.plan and len(results) == len(known) and all(known.get(k) is r for k, r in results.items())


def _trained(results: Results) -> dict[str, TrialResult]:
    """Without those of variants, which ask for nothing."""
    return {trial: result for trial, result in results.items() if result.config.kind != "variant"}


_last: _Answer | None = None


def grown(plan: Plan, results: Results) -> tuple[Plan, tuple[str, ...]]:
    """The plan with all that these results ask for, and the trials that must end before they can ask for more.

    Give it the plan as expanded: what it returns has grown already.
    """
    global _last
    results = _trained(results)
    last = _last  # once: a display asks from a thread of its own
    if last is not None and last.answers(plan, results):
        return last.grown
    answer = _grown(plan, results)
    _last = _Answer(plan, results, answer)
    return answer


def _grown(plan: Plan, results: Results) -> tuple[Plan, tuple[str, ...]]:
    if isinstance(plan.sweep.parameters.batch_size, AutoBatchSize):
        return _auto(plan, results)
    rate = plan.sweep.parameters.learning_rate
    if isinstance(rate, ScaledLearningRate) and rate.extend:
        return _with_edges(plan, results, rate.extend)
    return plan, ()


def _with_edges(plan: Plan, results: Results, limit: int) -> tuple[Plan, tuple[str, ...]]:
    from orchestrator.stages.edges import beyond_edges  # brings in numpy, which a plan does without

    edges = beyond_edges(plan.trials, results, plan.sweep.objective, limit)
    trials = (*plan.trials, *edges.added)
    pending = plan.pending if edges.missing else pending_variants(plan.sweep, configurations(trials))
    return replace(plan, trials=trials, pending=pending), edges.missing


def _auto(plan: Plan, results: Results) -> tuple[Plan, tuple[str, ...]]:
    from orchestrator.stages.auto import proceed

    progress = proceed(plan, results)
    trials = (*plan.trials, *progress.trials)
    pending = () if progress.missing else chosen_variants(plan.sweep, progress.chosen)
    return replace(plan, trials=trials, pending=pending), progress.missing


def configurations(trials: tuple[Trial, ...]) -> list[Configuration]:
    """Trials that differ by seed alone, as tuples; those of one batch size beside one another, in the plan's order."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.config.model_dump_json(exclude={"training": {"seed"}}), []).append(trial)
    by_size: dict[int, list[Configuration]] = defaultdict(list)
    for group in groups.values():
        by_size[group[0].training.batch_size].append(tuple(group))
    return [configuration for same in by_size.values() for configuration in same]
