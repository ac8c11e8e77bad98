"""What MLflow's page of a sweep says: the trials that are its own, and what tells them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.adaptive.resolve import outlook
from orchestrator.planning.expand import expand
from orchestrator.recording.journal_view import Ended, Started, TrialLog
from orchestrator.recording.mlflow.views import experiment_tags, view_state
from orchestrator.sweep.plan import Plan, Trial
from tests.support.sweep_text import load_text, sweep_text
from trainables.estimate import Estimate
from trainables.results import Status, TrialResult

OPTIMIZERS = "{values: [sgd, {name: adamw, weight_decay: 0.3}]}"


def planned(folder: Path, **axes: str) -> Plan:
    task = "{name: digits_cnn, options: {norm: group, channels: {values: [8, 16]}}}" if "channels" in axes else None
    axes = {"batch_size": "{values: [16, 32]}", "learning_rate": "0.1", **axes}
    axes.pop("channels", None)
    parameters = ", ".join(f"{key}: {value}" for key, value in axes.items())
    return expand(load_text(folder, sweep_text(parameters=f"{{{parameters}}}", **({"task": task} if task else {}))))


def result_of(trial: Trial) -> TrialResult:
    metrics = {"val_accuracy": Estimate(value=0.9)}
    return TrialResult(id=trial.id, config=trial.config, status=Status.COMPLETED, metrics=metrics)


def log_of(trial: Trial) -> TrialLog:
    end = Ended(time_ms=2, trial=trial.id, result=result_of(trial))
    return TrialLog(Started(time_ms=1, trial=trial.id, config=trial.config), ended=end)


@pytest.mark.parametrize(
    ("axes", "swept"),
    [
        ({}, []),
        ({"channels": "", "precision": "{values: [float32, bfloat16]}"}, ["task.options.channels", "precision"]),
        ({"optimizer": OPTIMIZERS}, ["optimizer.name", "optimizer.weight_decay"]),
        ({"gradient_clip_norm": "{values: [null, 1]}"}, ["gradient_clip_norm"]),
    ],
)
def test_what_the_file_varies_has_a_column(tmp_path: Path, axes: dict[str, str], swept: list[str]) -> None:
    columns = view_state(planned(tmp_path, **axes))["selectedColumns"]
    params = ("batch_size", "learning_rate", *swept, "compression", "seed")
    assert [column for column in columns if column.startswith("params.")] == [f"params.`{name}`" for name in params]
    assert {"tags.`paretune.trial`", "tags.`paretune.recommended`"} <= set(columns)


def test_trials_of_an_earlier_file_or_of_other_data_are_counted_apart(tmp_path: Path) -> None:
    def note(plan: Plan, *trials: Trial) -> list[str]:
        text = experiment_tags(plan, {trial.id: log_of(trial) for trial in trials})["mlflow.note.content"]
        return [line for line in text.splitlines() if "trials" in line]

    plan = planned(tmp_path)
    variants = outlook(plan, {trial.id: result_of(trial) for trial in plan.trials}).known
    assert len(variants) == 6
    assert note(plan) == ["- trials: none yet"]
    assert note(plan, *plan.trials, *variants) == ["- trials: 8 completed"]
    facts = plan.sweep.facts.model_copy(update={"data": ("other",)})
    now = expand(plan.sweep.model_copy(update={"facts": facts}))
    assert note(now, *plan.trials, *variants, *now.trials) == [
        "- trials: 2 completed",
        "- other trials here, of earlier versions of the file, its data or code: 8",
    ]
