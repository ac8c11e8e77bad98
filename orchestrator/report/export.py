"""The comparison as data: JSON for scripts, CSV and Parquet for tables. One record per trial, each figure a number.

A figure `x` with an interval has `x_low` and `x_high` beside it. `configuration` is the same for trials that differ
only by seed. A trial without a result has status `waiting`; an interrupted one has the figures of its last evaluation.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import to_json as to_json_bytes

from orchestrator.analysis.comparison import SweepComparison
from orchestrator.analysis.goals import GoalResult
from orchestrator.analysis.recommend import Recommendation
from orchestrator.analysis.rows import Configuration, ProbeRow, Row
from orchestrator.analysis.table import SweepTable
from orchestrator.report.batch_export import batch_dict, equal_readings
from orchestrator.sweep.flatten import Leaf, leaves
from orchestrator.wording.goals import ending_words
from orchestrator.wording.reasons import label
from orchestrator.wording.recommendation import caveats, reasons
from orchestrator.wording.runner_up import why_not
from trainables.config.trial import AnyTrialConfig, ProbeConfig, TaskConfig
from trainables.estimate import Estimate


def to_dict(comparison: SweepComparison) -> dict[str, Any]:
    """`{"sweep", "trials": [{"id", "kind", "parent", "status", "params", "metrics"}], "pareto", "recommendation"}`.

    A baseline has `equal_examples` and `equal_steps` too; `batch_dict` has the sweep's findings on batch sizes.
    """
    readings = equal_readings(comparison)
    trial_settings = _params_of_all(comparison.table)
    trials = [
        {
            "id": row.id,
            "kind": row.kind,
            "parent": row.parent,
            "status": row.status,
            "stage": row.stage.value,
            "params": trial_settings[row.id],
            "metrics": {name: _finite(value) for name, value in figures(row).items()},
            "warnings": list(row.result.warnings) if row.result else [],
            **readings.get(row.id, {}),
        }
        for row in comparison.table.rows
    ]
    return {
        "sweep": comparison.table.plan.name,
        "trials": [*map(_probe_dict, comparison.table.probes), *trials],
        "pareto": comparison.pareto,
        "recommendation": recommendation_dict(comparison),
        **batch_dict(comparison),
    }


def to_json(comparison: SweepComparison) -> str:
    return to_json_bytes(to_dict(comparison), indent=2, ensure_ascii=True).decode()


def to_csv(comparison: SweepComparison) -> str:
    records = to_records(comparison)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_columns(records), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def to_parquet(comparison: SweepComparison) -> bytes:
    """The table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(to_table(comparison), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def to_table(comparison: SweepComparison) -> pa.Table:
    """The same records; the recommendation is in the table's metadata, as JSON under the key `recommendation`."""
    records = to_records(comparison)
    columns = {name: _typed([record.get(name) for record in records]) for name in _columns(records)}
    metadata = {
        "sweep": comparison.table.plan.name,
        "recommendation": json.dumps(recommendation_dict(comparison), ensure_ascii=False),
    }
    return pa.table(columns).replace_schema_metadata(metadata)


def to_records(comparison: SweepComparison) -> list[dict[str, Leaf]]:
    """One flat record per trial: its identity, its settings, its figures, and whether it is on the Pareto front."""
    recommended = comparison.recommendation.row
    front, trial_settings = set(comparison.pareto), _params_of_all(comparison.table)
    probes: list[dict[str, Leaf]] = [
        {
            "id": row.id,
            "kind": row.config.kind,
            "status": row.status,
            "reason": row.result.reason if row.result else None,
            **_probe_params(row.config),
            **_probe_figures(row),
        }
        for row in comparison.table.probes
    ]
    return probes + [
        {
            "id": row.id,
            "kind": row.kind,
            "parent": row.parent,
            "status": row.status,
            "reason": ending_words(comparison.table, row),
            "pareto": row.id in front,
            "recommended": recommended is not None and row.id == recommended.id,
            "warnings": "; ".join(row.result.warnings) or None if row.result else None,
            **trial_settings[row.id],
            **figures(row),
        }
        for configuration in comparison.table.configurations
        for row in configuration.rows
    ]


def flat_settings(row: Row, configuration: Configuration) -> dict[str, Leaf]:
    """The settings of a trial, flat: an optimiser's own as `optimizer.momentum`, the budget as `budget.examples`."""
    return {
        **trial_settings(row.config),
        "learning_rate_source": row.learning_rate_source,
        "compression": row.compression or None,
        "configuration": configuration.key,
    }


def trial_settings(config: AnyTrialConfig) -> dict[str, Leaf]:
    """The training settings of a trial; for a probe, the settings that it probes with."""
    if isinstance(config, ProbeConfig):
        return _probe_params(config)
    found = _task_params(config.task)
    for name, value in config.training.model_dump(mode="json").items():
        match value:
            case {"name": choice}:
                found[name] = choice
                found |= leaves({key: setting for key, setting in value.items() if key != "name"}, (name,))
            case {"unit": unit, "amount": amount}:
                found[f"{name}.{unit}"] = amount
            case _:
                found |= leaves(value, (name,))
    return found


def _params_of_all(table: SweepTable) -> dict[str, dict[str, Leaf]]:
    """The `params` of every trial. Trials of one configuration share all of them except their own seed and parent."""
    found: dict[str, dict[str, Leaf]] = {}
    for configuration in table.configurations:
        shared = flat_settings(configuration.rows[0], configuration)
        for row in configuration.rows:
            found[row.id] = {**shared, "seed": row.seed, "learning_rate_source": row.learning_rate_source}
    return found


def _task_params(task: TaskConfig) -> dict[str, Leaf]:
    """The task and its options under the names that MLflow's parameters have."""
    return {"task": task.name, **{f"task.options.{name}": value for name, value in task.options.items()}}


def figures(row: Row) -> dict[str, float]:
    """All figures of a trial, with the ends of their intervals; for an interrupted trial, its last evaluation's."""
    if row.result is None:
        return {}
    last = row.result.history[-1].metrics if row.result.history and not row.measured else {}
    return {name: value for name, value in last.items() if name not in row.result.metrics} | flat(row.result.metrics)


def flat(metrics: Mapping[str, Estimate]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, estimate in metrics.items():
        found[name] = estimate.value
        if estimate.low is not None and estimate.high is not None:
            found[f"{name}_low"], found[f"{name}_high"] = estimate.low, estimate.high
    return found


def _probe_dict(row: ProbeRow) -> dict[str, Any]:
    """A probe in the same form as other trials, with its own settings as `params`."""
    return {
        "id": row.id,
        "kind": row.config.kind,
        "parent": None,
        "status": row.status,
        "stage": "probe",
        "params": _probe_params(row.config),
        "metrics": _probe_figures(row),
    }


def _probe_params(config: ProbeConfig) -> dict[str, Leaf]:
    return {
        **_task_params(config.task),
        "optimizer": config.optimizer.name,
        "precision": config.precision,
        "num_workers": config.num_workers,
        "memory_limit_bytes": config.memory_limit_bytes,
        "max_micro_batch_size": config.max_micro_batch_size,
    }


def _probe_figures(row: ProbeRow) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in flat(row.result.metrics).items()} if row.result else {}


def recommendation_dict(comparison: SweepComparison) -> dict[str, Any]:
    """`trial` is null when nothing is recommended; `nearest` then names the trial that comes closest to the goals."""
    found = comparison.recommendation
    test = comparison.test_of_recommended
    return {
        "trial": found.row.id if found.row else None,
        "reasons": reasons(comparison.table, found),
        "caveats": caveats(comparison.table, found.caveats),
        "runner_up": None
        if found.runner_up is None
        else {
            "trial": found.runner_up.row.id,
            "what": label(comparison.table, found.runner_up.configuration),
            "step": found.runner_up.step,
            "why_not": why_not(comparison.table, found.runner_up),
        },
        "nearest": found.nearest_row.id if found.nearest_row else None,
        "goals": [goal_dict(result) for result in found.goals],
        **_settings(found),
        "test": None if test is None else {name: _finite(value) for name, value in flat(test.metrics).items()},
        "test_readings": None if test is None else test.readings,
    }


def goal_dict(result: GoalResult) -> dict[str, Any]:
    margin = result.margin
    return {
        **result.goal.model_dump(),
        "verdict": result.verdict.value,
        "achieved": None if result.achieved is None else _finite(result.achieved),
        "margin": None if margin is None else _finite(margin.mean),
        "margin_low": None if margin is None or margin.low is None else _finite(margin.low),
        "margin_high": None if margin is None or margin.high is None else _finite(margin.high),
        "within_noise": result.within_noise,
    }


def _settings(found: Recommendation) -> dict[str, Any]:
    """The settings that reproduce the recommended model."""
    training = found.configuration.training if found.configuration else None
    return {
        "options": dict(found.row.config.task.options) if found.row else None,
        "batch_size": training.batch_size if training else None,
        "learning_rate": training.learning_rate if training else None,
        "precision": training.precision if training else None,
        "num_workers": training.num_workers if training else None,
        "compression": (found.configuration.compression or None) if found.configuration else None,
    }


def _finite(value: float) -> float | None:
    """The value with infinity and NaN as null, since JSON has neither."""
    return value if math.isfinite(value) else None


def _columns(records: list[dict[str, Leaf]]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record))


def _typed(values: list[Leaf]) -> pa.Array:
    """One column. If a setting is a number in some trials and text in others, all its values become text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and kinds != {int}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if len(kinds) > 1:
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    return pa.array(values)
