"""Upper bounds of a plan: its trials, their training, and the baselines that may become a variant's parent."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.planning.auto_design import MAX_CONFIRMED, ladder
from orchestrator.planning.workload import (
    Work,
    budget_fractions,
    budget_work,
    chain_work,
    known_most,
    known_sum,
    takes_a_step,
    work_of,
)
from orchestrator.sweep.plan import PendingVariant, Plan, Stage, StageBound, Trial
from orchestrator.sweep.spec import AutoBatchSize, TopParents
from trainables.config.batching import part_of

FIRST_STAGES = (Stage.PROBE, Stage.SHORT_RUN)  # stages whose trials are known when the plan is made


def total_work(plan: Plan) -> Work:
    """An upper bound of all work: a variant whose parent is not chosen yet counts as with its costliest candidate."""
    rows = plan.sweep.facts.train_rows
    total = sum((work_of(trial.config, rows) for trial in plan.trials), Work())
    if later := _later(plan):
        budget = plan.sweep.budget
        seconds = later_trials(plan) * budget.amount if budget.unit == "seconds" else 0.0
        total += Work(None, known_sum(bound.examples for bound in later), seconds)  # their batch sizes are unknown
    total += _work_of_later_variants(plan)
    for pending in plan.pending:
        total += most_work([pending_work(plan, pending, parent) for parent in possible_parents(plan, pending)])
    return total


def _work_of_later_variants(plan: Plan) -> Work:
    """The work of the variants of `batch_size: auto`, whose baselines are known only once the batch size is found."""
    sweep = plan.sweep
    if sweep.compression is None or not isinstance(sweep.parameters.batch_size, AutoBatchSize):
        return Work()
    parts = [part_of(sweep.budget, part) for chain in sweep.compression.variants for part in budget_fractions(chain)]
    sizes, rows = ladder(sweep), sweep.facts.train_rows
    possible = [[budget_work(part, at, rows) for at in sizes if takes_a_step(part, at, rows)] for part in parts]
    of_one_parent = [most_work(works) for works in possible if works]
    total = sum(of_one_parent * (variants_at_most(plan) // (1 + len(sweep.compression.variants))), Work())
    return Work(None if of_one_parent else 0, total.examples, total.seconds)  # steps depend on unknown batch sizes


def most_work(works: Sequence[Work]) -> Work:
    """The largest steps, examples and seconds of several possibilities, each separately."""
    steps, examples = known_most(work.steps for work in works), known_most(work.examples for work in works)
    return Work(steps, examples, max(work.seconds for work in works))


def later_trials(plan: Plan) -> int:
    """The largest number of baselines that results may still add."""
    return sum(bound.trials for bound in _later(plan))


def variants_at_most(plan: Plan) -> int:
    """The number of pending variants; for `batch_size: auto`, the largest possible number."""
    compression, auto = plan.sweep.compression, plan.sweep.parameters.batch_size
    if compression is None or not isinstance(auto, AutoBatchSize):
        return len(plan.pending)
    top = compression.parents.top if isinstance(compression.parents, TopParents) else MAX_CONFIRMED
    seeds = auto.confirm_seeds if compression.seeds == "all" else 1
    return min(top, MAX_CONFIRMED) * seeds * (1 + len(compression.variants))


def _later(plan: Plan) -> list[StageBound]:
    return [bound for bound in plan.stages if bound.stage not in FIRST_STAGES]


def possible_parents(plan: Plan, pending: PendingVariant) -> list[Trial]:
    """The baselines that may become a variant's parent."""
    index = pending.seed_index
    seeds = pending.choice.configurations
    ids = [trial for trials in seeds for trial in (trials if index is None else (trials[index],))]
    return [plan.by_id[trial] for trial in ids]


def pending_work(plan: Plan, pending: PendingVariant, parent: Trial) -> Work:
    """The training work of a variant with this baseline."""
    return chain_work(pending.chain, parent.training, plan.sweep.facts.train_rows)
