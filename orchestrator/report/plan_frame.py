"""A plan as records: one per known trial, with its settings in the columns of the comparison's table."""

from __future__ import annotations

from orchestrator.planning.workload import work_of
from orchestrator.report.export import trial_settings
from orchestrator.sweep.flatten import Leaf
from orchestrator.sweep.plan import Plan


def trial_records(plan: Plan) -> list[dict[str, Leaf]]:
    """One record per trial, in the plan's order. `steps` and `examples` are None if they depend on unread data."""
    records: list[dict[str, Leaf]] = []
    for trial in plan.trials:
        work = work_of(trial.config, plan.sweep.facts.train_rows)
        records.append(
            {
                "id": trial.id,
                "kind": trial.config.kind,
                "stage": trial.stage.value,
                **trial_settings(trial.config),
                "learning_rate_source": trial.learning_rate_source or None,
                "steps": work.steps,
                "examples": work.examples,
            }
        )
    return records
