"""One trial as one flat MLflow run: its name, tags, parameters and metrics. Imports no MLflow.

Runs are not nested, because MLflow's runs page hides the children of a run; a variant names its parent in a tag.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.machine.environment import OUTER_RUN, OUTER_RUN_TAG
from orchestrator.recording.journal_view import TrialLog
from orchestrator.sweep.flatten import leaves
from orchestrator.sweep.labels import setting_words
from orchestrator.sweep.metrics import mlflow_key
from orchestrator.sweep.plan import Stage
from trainables.config.compression import describe_chain
from trainables.config.trial import AnyTrialConfig, ProbeConfig, TrainedConfig
from trainables.results import Report, Status, TrialResult

PARAM_CHARACTERS = 6000  # MLflow's limit of a parameter's value
TAG_CHARACTERS = 5000  # limit of a tag's value in older servers

TRIAL_TAG = "paretune.trial"
SWEEP_TAG = "paretune.sweep"
RECORDING_TAG = "paretune.recording"  # distinguishes two sweeps of one name on one server
STATUS_TAG = "paretune.status"
NOTE_TAG = "mlflow.note.content"  # text that MLflow shows at the top of a run or an experiment
RECOMMENDED_TAG, YES = "paretune.recommended", "yes"  # at most one run has it
RUNNING, OPEN_STATES = "running", "interrupted"  # the values of the status tag before the trial has ended

# Okabe and Ito's colours, which colour-blind people can distinguish, without yellow, which is invisible on white: one
# for every power of two of the batch size.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
_PROBE_COLOUR = "#999999"  # a probe has no batch size

_MLFLOW_STATUS = {
    Status.COMPLETED: "FINISHED",
    Status.STOPPED_EARLY: "FINISHED",
    Status.GOAL_MISSED: "FINISHED",
    Status.OUT_OF_MEMORY: "FAILED",
    Status.DIVERGED: "FAILED",
    Status.PARENT_FAILED: "FAILED",
    Status.FAILED: "FAILED",
}


@dataclass(frozen=True)
class MetricPoint:
    """One number of one metric, as MLflow keeps it. Sending an equal one again changes nothing."""

    key: str
    value: float
    time_ms: int
    step: int  # optimiser steps


def run_name(config: AnyTrialConfig, settings: Iterable[str] = ()) -> str:
    """The name of a run: `B=64 lr=0.05 seed 0`, `int8 of B=64 lr=0.05 seed 0`, `probe of sgd float32`.

    `settings`: names of the settings that the sweep varies (see orchestrator.sweep.labels); they are always shown.
    """
    if isinstance(config, ProbeConfig):
        workers = f" {config.num_workers} workers" if config.num_workers > 1 else ""
        return f"probe of {config.optimizer.name} {config.precision}{workers}"
    name = _training_name(config, settings)
    return name if config.kind == "baseline" else f"{describe_chain(config.chain)} of {name}"


def _training_name(config: TrainedConfig, settings: Iterable[str]) -> str:
    training = config.training
    said_if = {
        "optimizer": training.optimizer.name != "sgd",
        "precision": training.precision != "float32",
        "num_workers": training.num_workers > 1,
    }
    names = dict.fromkeys([*settings, *(name for name, is_said in said_if.items() if is_said)])
    words = [f"B={training.batch_size}", f"lr={training.learning_rate:.4g}"]
    return " ".join([*words, *(setting_words(config, name) for name in names), f"seed {training.seed}"])


def mlflow_status(status: Status) -> str:
    """MLflow's status: FAILED for a trial without figures to compare. The status tag has the exact ending."""
    return _MLFLOW_STATUS[status]


def of_recording(recording: str) -> str:
    """MLflow's condition for the runs of one recording of a sweep."""
    return f"tags.`{RECORDING_TAG}` = '{recording}'"


def tags(sweep: str, recording: str, log: TrialLog) -> dict[str, str]:
    """The tags of a run at its start."""
    config = log.started.config
    return {
        SWEEP_TAG: sweep,
        RECORDING_TAG: recording,
        TRIAL_TAG: log.started.trial,
        STATUS_TAG: RUNNING,
        "paretune.kind": config.kind,
        "paretune.task": config.task.name,
        **({"paretune.parent": config.parent} if config.kind == "variant" else {}),
        **({"paretune.stage": log.started.stage.value} if log.started.stage is not Stage.GRID else {}),
        **({OUTER_RUN_TAG: outer} if (outer := os.environ.get(OUTER_RUN)) else {}),  # no parent: MLflow would hide it
        "mlflow.runColor": _colour(config),
    }


def _colour(config: AnyTrialConfig) -> str:
    if isinstance(config, ProbeConfig):
        return _PROBE_COLOUR
    return _COLOURS[round(math.log2(config.training.batch_size)) % len(_COLOURS)]


def end_tags(result: TrialResult) -> dict[str, str]:
    """The tags that a trial's end adds or changes."""
    notes = [*([result.reason] if result.reason else []), *result.warnings]
    reason = {"paretune.reason": result.reason[:TAG_CHARACTERS]} if result.reason else {}
    note = {NOTE_TAG: "\n\n".join(notes)[:TAG_CHARACTERS]} if notes else {}
    return {STATUS_TAG: result.status.value, **reason, **note}


def params(log: TrialLog) -> dict[str, str]:
    """The resolved configuration, one entry per leaf; the prefix `training.` is left out, as most keys have it."""
    config = log.started.config
    flat = flat_config(config)
    flat["compression"] = describe_chain(config.chain) if config.kind == "variant" else "none"
    if log.started.learning_rate_source:
        flat["learning_rate_source"] = log.started.learning_rate_source
    return {mlflow_key(key): value[:PARAM_CHARACTERS] for key, value in flat.items()}


def flat_config(config: AnyTrialConfig) -> dict[str, str]:
    """The leaves of a configuration: `{"batch_size": "64", "optimizer.name": "sgd", "task.options.width": "2"}`."""
    known = (
        (key, value) for key, value in leaves(config.model_dump(mode="json", exclude={"kind"})) if value is not None
    )
    return {
        key.removeprefix("training."): value if isinstance(value, str) else json.dumps(value) for key, value in known
    }


def first_readings(log: TrialLog) -> list[MetricPoint]:
    """Metrics known at the start. MLflow's charts have linear axes and treat a parameter as text."""
    config = log.started.config
    if isinstance(config, ProbeConfig):
        return []
    return [MetricPoint("log2_batch_size", math.log2(config.training.batch_size), log.start_ms, 0)]


def report_readings(report: Report, time_ms: int) -> list[MetricPoint]:
    values = _values(report)
    return [MetricPoint(mlflow_key(key), value, time_ms, report.step) for key, value in values.items()]


def end_readings(result: TrialResult, time_ms: int) -> list[MetricPoint]:
    """The final figures, each with the ends of its interval, at the last report's step.

    A figure that equals the last report's is left out. If it differs, such as the accuracy of an exported model after
    the last step of its fine-tuning, it is logged one step later, as MLflow shows the latest step. A figure that was
    not determined (NaN, with a note that says why) is not logged.
    """
    last = max(result.history, key=lambda report: report.step, default=None)
    told = _values(last) if last else {}
    step = last.step if last else 0
    readings = []
    for name, estimate in result.metrics.items():
        figures = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        for key, value in figures.items():
            undetermined = value is not None and math.isnan(value) and estimate.note is not None
            if value is None or undetermined or (key in told and _same(told[key], value)):
                continue
            readings.append(MetricPoint(mlflow_key(key), value, time_ms, step + 1 if key in told else step))
    return readings


def _values(report: Report) -> dict[str, float]:
    return {**report.metrics, "examples": float(report.examples), "train_seconds": report.seconds}


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
