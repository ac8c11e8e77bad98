"""The plan for scripts, as JSON: every trial with its settings, and the totals. Unknown values are null."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.planning.plan_totals import (
    later_trials,
    most_work,
    pending_work,
    possible_parents,
    total_work,
    variants_at_most,
)
from orchestrator.planning.scaling import rules_of
from orchestrator.planning.variants import variant_trial
from orchestrator.planning.workload import work_of
from orchestrator.sweep.plan import PendingVariant, Plan, Trial
from trainables.config.compression import describe_chain
from trainables.config.trial import AnyTrialConfig, ProbeConfig, VariantConfig


def plan_as_dict(plan: Plan) -> dict[str, Any]:
    """{"sweep", "task", "objective", "trials": [...], "pending": [...], "totals", "notes"}."""
    work, later, variants = total_work(plan), later_trials(plan), variants_at_most(plan)
    return {
        "sweep": plan.sweep.name,
        "task": plan.sweep.task.model_dump(mode="json"),
        "objective": plan.sweep.objective.model_dump(mode="json"),
        "budget": plan.sweep.budget.model_dump(mode="json"),
        "goals": [goal.model_dump(mode="json") for goal in plan.sweep.goals],
        "trials": [_trial_as_dict(plan, trial) for trial in plan.trials],
        "pending": [_pending_as_dict(plan, pending) for pending in plan.pending],
        "stages": [{**asdict(bound), "stage": bound.stage.value} for bound in plan.stages],
        "totals": {"trials": len(plan.trials) + later + variants, "baselines": len(plan.trials) + later}
        | {"variants": variants, **asdict(work)},
        "rules": rules_of(plan),
        "notes": list(plan.notes),
    }


def plan_as_json(plan: Plan) -> str:
    return json.dumps(plan_as_dict(plan), indent=2)


def _trial_as_dict(plan: Plan, trial: Trial) -> dict[str, Any]:
    config = trial.config
    chain = config.chain if isinstance(config, VariantConfig) else ()
    work = work_of(config, plan.sweep.facts.train_rows)
    return {
        "id": trial.id,
        "kind": config.kind,
        "parent": config.parent if isinstance(config, VariantConfig) else None,
        "options": config.task.options,
        **_settings_as_dict(config),
        "learning_rate_source": trial.learning_rate_source,
        "chain": [step.model_dump(mode="json") for step in chain],
        "stage": trial.stage.value,
        "steps": work.steps,
        "examples": work.examples,
    }


def _settings_as_dict(config: AnyTrialConfig) -> dict[str, Any]:
    if isinstance(config, ProbeConfig):
        return config.model_dump(mode="json", exclude={"kind", "task"})
    return config.training.model_dump(mode="json")


def _pending_as_dict(plan: Plan, pending: PendingVariant) -> dict[str, Any]:
    parents = possible_parents(plan, pending)
    trial = variant_trial(parents[0], pending.chain, plan) if len(parents) == 1 else None
    work = most_work([pending_work(plan, pending, parent) for parent in parents])
    return {
        "key": pending.key,
        "id": trial.id if trial else None,
        "kind": "variant",
        "parent": parents[0].id if trial else None,
        **_settings_in_common(parents),
        "rule": pending.rule,
        "candidates": list(pending.candidates),
        "chain": [step.model_dump(mode="json") for step in pending.chain],
        "description": describe_chain(pending.chain),
        "steps_at_most": work.steps,
        "examples_at_most": work.examples,
    }


def _settings_in_common(parents: Sequence[Trial]) -> dict[str, Any]:
    """A variant whose parent is not chosen yet: the settings that all possible parents share; others are None."""
    first, *others = [
        {**_settings_as_dict(parent.config), "learning_rate_source": parent.learning_rate_source} for parent in parents
    ]
    return {name: value if all(other[name] == value for other in others) else None for name, value in first.items()}
