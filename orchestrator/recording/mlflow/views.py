"""A sweep's page in MLflow: a prepared view of its runs, and a note that explains it.

MLflow stores a shared view in a tag of the experiment. The format is internal to its user interface and was derived
from version 3.17; a test opens the view in a real browser. Imports no MLflow.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from orchestrator.adaptive.resolve import outlook
from orchestrator.recording.journal_view import TrialLog
from orchestrator.recording.mlflow.run_record import NOTE_TAG, RECOMMENDED_TAG, STATUS_TAG, TRIAL_TAG, flat_config
from orchestrator.sweep.labels import OPTION, swept_settings
from orchestrator.sweep.metrics import mlflow_key
from orchestrator.sweep.plan import Plan

VIEW_KEY = "paretune"
NOTE_CHARACTERS = 20_000  # MLflow's limit of an experiment's tag

Json = dict[str, Any]


def view_url(server: str, experiment: str) -> str:
    """The address of the view on an MLflow server, for MLflow's id of the experiment."""
    query = f"workflowType=machine_learning&viewStateShareKey={VIEW_KEY}&compareRunsMode=CHART"
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?{query}"


def experiment_tags(plan: Plan, trials: Mapping[str, TrialLog], note: str = "") -> dict[str, str]:
    """All tags of a sweep's experiment. `note`: Markdown to show first, such as the recommendation."""
    return {
        f"mlflow.sharedViewState.{VIEW_KEY}": _packed("Paretune", view_state(plan)),
        "mlflow.experimentKind": "custom_model_development",  # otherwise MLflow asks about language models
        NOTE_TAG: experiment_note(plan, trials, note),
    }


def view_state(plan: Plan) -> Json:
    """The columns and charts of the view, in the format of MLflow's user interface."""
    sweep = plan.sweep
    objective = mlflow_key(sweep.objective.metric)
    latency = f"latency_p50_ms_batch_{sweep.measure.batch_sizes[0]}"
    figures = [objective, "artifact_bytes", latency]
    compresses = plan.sweep.compression is not None
    parallel = {  # the last axis gives the lines their colour
        "selectedParams": ["batch_size", "learning_rate", *(["compression"] if compresses else [])],
        "selectedMetrics": [latency, "artifact_bytes", objective] if compresses else ["examples_per_second", objective],
        "showAllRuns": False,
    }
    trade_offs = [
        _chart("SCATTER", "trade-off", xaxis=_metric(latency), yaxis=_metric(objective)),
        _chart("SCATTER", "trade-off", xaxis=_metric("artifact_bytes"), yaxis=_metric(objective)),
    ]
    batch_sizes = [
        _chart("SCATTER", "batch-size", xaxis=_metric("log2_batch_size"), yaxis=_metric(objective)),
        _chart("SCATTER", "batch-size", xaxis=_metric("log2_batch_size"), yaxis=_metric("examples_per_second")),
        _chart("LINE", "batch-size", **_line(objective)),
    ]
    if compresses:
        charts = [*trade_offs, _chart("PARALLEL", "trade-off", **parallel), *batch_sizes]
        sections = [_section("trade-off", "Compressed models"), _section("batch-size", "Batch sizes")]
    else:
        charts = [*batch_sizes, _chart("PARALLEL", "batch-size", **parallel)]
        sections = [_section("batch-size", "Batch sizes")]
    return {
        "searchFilter": "",
        "orderByKey": f"metrics.`{objective}`",
        "orderByAsc": sweep.objective.mode == "min",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [
            *(f"tags.`{name}`" for name in (TRIAL_TAG, RECOMMENDED_TAG, "paretune.kind", STATUS_TAG)),
            *(f"params.`{name}`" for name in ("batch_size", "learning_rate", *_swept(plan), "compression", "seed")),
            *(f"metrics.`{name}`" for name in figures),
        ],
        "runsHiddenMode": "SHOW_ALL",  # by default, charts show ten runs
        "groupBy": None,
        "isAccordionReordered": True,  # else sections are sorted by name
        "compareRunSections": [*sections, _section("metrics", "Model metrics", is_open=False)],
        "compareRunCharts": charts,
    }


def _swept(plan: Plan) -> list[str]:
    """The parameters that the file varies; for a choice with settings, such as an optimizer, those that differ."""
    values: dict[str, set[str]] = defaultdict(set)
    for trial in plan.trials:
        for key, value in flat_config(trial.config).items():
            values[key].add(value)
    names = [name.replace(OPTION, "task.options.", 1) for name in swept_settings(plan.sweep)]
    return [
        mlflow_key(key)
        for name in names
        for key, found in values.items()
        if key == name or (key.startswith(f"{name}.") and len(found) > 1)
    ]


def _chart(kind: str, section: str, **settings: object) -> Json:
    chart = {"type": kind, "metricSectionId": section, "deleted": False, "isGenerated": False, **settings}
    return {"runsCountToCompare": 100, "uuid": f"{section}-{zlib.crc32(json.dumps(chart).encode()):08x}", **chart}


def _section(identity: str, name: str, is_open: bool = True) -> Json:
    return {"uuid": identity, "name": name, "display": is_open, "isReordered": False, "deleted": False, "columns": 2}


def _metric(key: str) -> Json:
    return {"key": key, "type": "METRIC"}


def _line(metric: str) -> Json:
    """A chart over examples seen, so that batch sizes can be compared."""
    x_axis = {"xAxisKey": "metric", "selectedXAxisMetricKey": "examples", "useGlobalXaxisKey": False}
    scales = {"xAxisScaleType": "linear", "scaleType": "linear", "lineSmoothness": 0, "useGlobalLineSmoothing": False}
    return {"metricKey": metric, "selectedMetricKeys": [metric], **x_axis, **scales}


def _packed(name: str, state: Json) -> str:
    now_ms = time.time_ns() // 1_000_000
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), level=9)).decode()
    return json.dumps({"name": name, "createdAt": now_ms, "updatedAt": now_ms, "state": f"deflate;{packed}"})


def experiment_note(plan: Plan, trials: Mapping[str, TrialLog], first: str) -> str:
    """The text at the top of the sweep's experiment, in Markdown; it begins with `first`, if that is not empty."""
    sweep, trials = plan.sweep, dict(trials)  # a copy, as trials change meanwhile
    results = {trial: result for trial, log in trials.items() if (result := log.result()) is not None}
    known = {trial.id for trial in (*plan.trials, *outlook(plan, results).known)}
    own = [log for trial, log in trials.items() if trial in known]
    endings = Counter(log.ended.result.status.value if log.ended else "not ended" for log in own)
    others = len(trials) - len(own)
    objective = f"{sweep.objective.metric} ({sweep.objective.mode})"
    goals = "; ".join(f"{goal.metric} {goal.type} {goal.value:g}" for goal in sweep.goals) or "none"
    note = "\n".join(
        [
            *([first, ""] if first else []),
            f"Paretune sweep **{sweep.name}** on task `{sweep.task.name}`, "
            f"{sweep.budget.amount:g} {sweep.budget.unit} per baseline.",
            "",
            f"- objective: {objective}",
            f"- goals: {goals}",
            f"- trials: {', '.join(f'{count} {ending}' for ending, count in sorted(endings.items())) or 'none yet'}",
            *([f"- other trials here, of earlier versions of the file, its data or code: {others}"] if others else []),
            "",
            f"Open *Views, Paretune* for its charts, or run `paretune compare {sweep.name}`.",
        ]
    )
    return note[:NOTE_CHARACTERS]
