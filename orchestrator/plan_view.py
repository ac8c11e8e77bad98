"""The plan for people and for scripts: every trial with the numbers that decide its cost, and their totals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.expand import variant_trial
from orchestrator.plan import PendingVariant, Plan, Trial
from orchestrator.workload import Work, chain_work, work_of
from trainables.config import BaselineConfig, Training, describe_chain

Row = Sequence[str]

AXES_SHOWN_IF_VARIED = (
    "sharding",
    "data_order",
    "optimizer",
    "schedule",
    "batch_schedule",
    "gradient_clip_norm",
    "sync_every_steps",
)


@dataclass(frozen=True)
class PlanTable:
    """One table of the plan: column names, and rows of text."""

    title: str
    columns: Row
    rows: tuple[Row, ...]


def baseline_table(plan: Plan) -> PlanTable:
    """One row per baseline."""
    options = list(plan.sweep.task.swept)
    varied = [axis for axis in AXES_SHOWN_IF_VARIED if len(getattr(plan.sweep.parameters, axis)) > 1]
    columns = ["id", "batch_size = micro x accum x workers", "learning_rate", "rule", "precision", "workers", "seed"]
    rows = tuple(
        (
            trial.id,
            factorisation(trial.config.training),
            f"{trial.config.training.learning_rate:g}",
            trial.learning_rate_source,
            trial.config.training.precision,
            str(trial.config.training.num_workers),
            str(trial.config.training.seed),
            *(str(trial.config.task.options[option]) for option in options),
            *(_axis_words(getattr(trial.config.training, axis)) for axis in varied),
            *_work_words([work_of(trial.config, plan.sweep.facts.train_rows)]),
        )
        for trial in plan.trials
    )
    title = f"{len(rows)} baselines of {plan.sweep.task.name}, budget {budget_words(plan)} each"
    return PlanTable(title, (*columns, *options, *varied, "steps", "examples"), rows)


def variant_table(plan: Plan) -> PlanTable:
    """One row per variant. Its id is known in advance only where its parent is."""
    rows = []
    for pending in plan.pending:
        parents = possible_parents(plan, pending)
        trial = variant_trial(parents[0], pending.chain, plan) if len(parents) == 1 else None
        rows.append(
            (
                trial.id if trial else "(later)",
                parents[0].id if trial else pending.rule,
                _common([factorisation(parent.config.training) for parent in parents]),
                _common([f"{parent.config.training.learning_rate:g}" for parent in parents]),
                _common([parent.config.training.precision for parent in parents]),
                _seed_words(plan, pending),
                describe_chain(pending.chain),
                *_work_words([_pending_work(plan, pending, parent) for parent in parents]),
            )
        )
    columns = ("id", "parent", "batch_size", "learning_rate", "precision", "seed", "chain", "steps", "examples")
    return PlanTable(f"{len(rows)} variants, each exported and measured in a fresh process", columns, tuple(rows))


def summary_lines(plan: Plan) -> list[str]:
    """The totals, and what a careful reader should know."""
    work, trials = total_work(plan), len(plan.trials) + len(plan.pending)
    parts = [f"{trials} trials ({len(plan.trials)} baselines, {len(plan.pending)} variants)"]
    if work.examples:
        parts.append(f"at most {work.examples:,} examples in {work.steps:,} steps")
    if work.seconds:
        parts.append(f"at most {work.seconds:,.0f} s of training")
    return [f"total: {', '.join(parts)}", *(f"note: {note}" for note in plan.notes)]


def plan_as_dict(plan: Plan) -> dict[str, Any]:
    """The plan for scripts: {"sweep", "task", "objective", "trials": [...], "pending": [...], "totals", "notes"}."""
    work = total_work(plan)
    return {
        "sweep": plan.sweep.name,
        "task": plan.sweep.task.model_dump(mode="json"),
        "objective": plan.sweep.objective.model_dump(mode="json"),
        "budget": plan.sweep.budget.model_dump(mode="json"),
        "goals": [goal.model_dump(mode="json") for goal in plan.sweep.goals],
        "trials": [_trial_as_dict(plan, trial) for trial in plan.trials],
        "pending": [_pending_as_dict(plan, pending) for pending in plan.pending],
        "totals": {"trials": len(plan.trials) + len(plan.pending), "baselines": len(plan.trials)}
        | {"variants": len(plan.pending), **asdict(work)},
        "notes": list(plan.notes),
    }


def plan_as_json(plan: Plan) -> str:
    return json.dumps(plan_as_dict(plan), indent=2)


def plain(table: PlanTable) -> str:
    """A table as aligned columns, for pipes and logs: nothing is cut, whatever the width."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    text = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join([table.title, *text])


def total_work(plan: Plan) -> Work:
    """An upper bound: a variant whose parent is not chosen yet counts as its dearest candidate would."""
    total = sum((work_of(trial.config, plan.sweep.facts.train_rows) for trial in plan.trials), Work())
    for pending in plan.pending:
        works = [_pending_work(plan, pending, parent) for parent in possible_parents(plan, pending)]
        total += Work(*(max(getattr(work, name) for work in works) for name in ("steps", "examples", "seconds")))
    return total


def possible_parents(plan: Plan, pending: PendingVariant) -> list[Trial]:
    """The baselines that may become a variant's parent."""
    index = pending.seed_index
    seeds = pending.choice.configurations
    ids = [trial for trials in seeds for trial in (trials if index is None else (trials[index],))]
    return [plan.by_id[trial] for trial in ids]


def factorisation(training: Training) -> str:
    """`128 = 64 x 1 x 2`: micro-batch, accumulation steps, workers."""
    factors = (training.micro_batch_size, training.accumulation_steps, training.num_workers)
    return f"{training.batch_size} = {' x '.join(map(str, factors))}"


def budget_words(plan: Plan) -> str:
    return f"{plan.sweep.budget.amount:,g} {plan.sweep.budget.unit}"


def _trial_as_dict(plan: Plan, trial: Trial) -> dict[str, Any]:
    config = trial.config
    chain = () if isinstance(config, BaselineConfig) else config.chain
    work = work_of(config, plan.sweep.facts.train_rows)
    return {
        "id": trial.id,
        "kind": config.kind,
        "parent": None if isinstance(config, BaselineConfig) else config.parent,
        "options": config.task.options,
        **config.training.model_dump(mode="json"),
        "learning_rate_source": trial.learning_rate_source,
        "chain": [step.model_dump(mode="json") for step in chain],
        "steps": work.steps,
        "examples": work.examples,
    }


def _pending_as_dict(plan: Plan, pending: PendingVariant) -> dict[str, Any]:
    parents = possible_parents(plan, pending)
    trial = variant_trial(parents[0], pending.chain, plan) if len(parents) == 1 else None
    works = [_pending_work(plan, pending, parent) for parent in parents]
    return {
        "key": pending.key,
        "id": trial.id if trial else None,
        "kind": "variant",
        "parent": parents[0].id if trial else None,
        "rule": pending.rule,
        "candidates": list(pending.candidates),
        "chain": [step.model_dump(mode="json") for step in pending.chain],
        "description": describe_chain(pending.chain),
        "steps_at_most": max(work.steps for work in works),
        "examples_at_most": max(work.examples for work in works),
    }


def _pending_work(plan: Plan, pending: PendingVariant, parent: Trial) -> Work:
    return chain_work(pending.chain, parent.config.training, plan.sweep.facts.train_rows)


def _seed_words(plan: Plan, pending: PendingVariant) -> str:
    return "first" if pending.seed_index is None else str(plan.sweep.parameters.seed[pending.seed_index])


def _axis_words(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join(str(part) for part in value.model_dump().values()) if hasattr(value, "model_dump") else str(value)


def _work_words(works: Iterable[Work]) -> tuple[str, str]:
    """(steps, examples), as far as they are known; the most of several possibilities."""
    works = list(works)
    if any(work.seconds for work in works):
        return f"for {max(work.seconds for work in works):g} s", "?"
    steps, examples = {work.steps for work in works}, {work.examples for work in works}
    return _most(steps), _most(examples)


def _most(numbers: set[int]) -> str:
    return f"{max(numbers):,}" if len(numbers) == 1 else f"up to {max(numbers):,}"


def _common(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else "parent's"
