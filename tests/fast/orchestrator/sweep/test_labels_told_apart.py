"""Trials of one sweep are told apart wherever they are named: in the plan, in the lines of a run, in MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.planning.expand import expand
from orchestrator.recording.mlflow.run_record import run_name
from orchestrator.report.plan_table import baseline_table
from orchestrator.running.progress import Progress
from orchestrator.sweep.labels import swept_settings
from orchestrator.sweep.plan import Plan
from tests.support.sweep_text import load_text, sweep_text


def planned(folder: Path, task: str, **axes: str) -> Plan:
    parameters = {"batch_size": "16", "learning_rate": "0.1", **axes}
    text = ", ".join(f"{key}: {value}" for key, value in parameters.items())
    return expand(load_text(folder, sweep_text(task=task, parameters=f"{{{text}}}", compression=None, goals=None)))


@pytest.mark.parametrize(
    ("task", "axes"),
    [
        ("{name: digits_cnn, options: {channels: {values: [8, 16]}, norm: {values: [batch, group]}}}", {}),
        ("digits_cnn", {"optimizer": "{values: [adamw, {name: adamw, weight_decay: 0.3}, {name: adamw, beta1: 0.8}]}"}),
        ("digits_cnn", {"schedule": "{values: [constant, {name: warmup_cosine, warmup_fraction: 0.2}]}"}),
        ("digits_cnn", {"gradient_clip_norm": "{values: [null, 1, 2]}", "precision": "{values: [float32, bfloat16]}"}),
        ("digits_cnn", {"num_workers": "{values: [1, 2]}", "sync_every_steps": "{values: [null, 8]}"}),
    ],
)
def test_no_two_trials_are_named_alike(tmp_path: Path, task: str, axes: dict[str, str]) -> None:
    plan = planned(tmp_path, task, **axes)
    assert len(plan.trials) > 1
    progress, settings = Progress(plan), swept_settings(plan.sweep)
    for names in (
        {progress.describe(trial) for trial in plan.trials},
        {run_name(trial.config, settings) for trial in plan.trials},
        {row[1:] for row in baseline_table(plan).rows},
    ):
        assert len(names) == len(plan.trials), names


def test_what_is_varied_is_said_and_nothing_else(tmp_path: Path) -> None:
    optimizers = "{values: [sgd, {name: adamw, weight_decay: 0.3}]}"
    plan = planned(
        tmp_path,
        "{name: digits_cnn, options: {channels: {values: [8, 16]}, norm: group}}",
        optimizer=optimizers,
        schedule="warmup_cosine",
    )
    last = plan.trials[-1]
    assert Progress(plan).describe(last) == "batch 16, rate 0.1, channels 16, adamw weight_decay=0.3, seed 0"
    settings = swept_settings(plan.sweep)
    assert run_name(plan.trials[0].config, settings) == "B=16 lr=0.1 channels 8 sgd seed 0"
    assert run_name(last.config, settings) == "B=16 lr=0.1 channels 16 adamw weight_decay=0.3 seed 0"
    table = baseline_table(plan)
    assert {row[table.columns.index("optimizer")] for row in table.rows} == {"sgd", "adamw weight_decay=0.3"}
