"""One whole baseline trial, on real data: its readings, its one result, and what it leaves in the storage."""

import io
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.training_samples import Regression, bits, differing, table, training, worker
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.data.table import Table
from trainables.measure.artifact import load_model
from trainables.results import Report, Status, TrialResult
from trainables.tasks.images import DigitsCnn
from trainables.tasks.load import load_task
from trainables.tasks.task_data import TaskData, open_data
from trainables.training.evaluate import evaluate
from trainables.trial import run_trial

TRIAL = "0123456789ab"


def baseline(task="digits_cnn", options=None, **changes):
    settings = {"batch_size": 32, "steps": 40, "evaluations": 4, "learning_rate": 0.02} | changes
    named = TaskConfig(name=task, options=options or {"channels": 4}, data="of the test", code="of the test")
    return BaselineConfig(task=named, training=training(**settings))


class Unstable(DigitsCnn):
    """Its loss is NaN as soon as it has trained for a while."""

    calls = 0

    def losses(self, outputs, batch):
        self.calls += outputs.requires_grad
        return super().losses(outputs, batch) * (math.nan if self.calls > 25 else 1.0)


class Unexportable(DigitsCnn):
    """Its model branches on the data, which torch.export cannot follow."""

    def build_model(self, width=1.0):
        class Branching(nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, image):
                outputs = self.inner(image)
                return outputs if outputs.sum() > 0 else outputs + 1

        return Branching(super().build_model(width))


class Uncopyable(DigitsCnn):
    """Its model keeps its last outputs, with the graph behind them."""

    def build_model(self, width=1.0):
        model = super().build_model(width)
        model.register_forward_hook(keep_outputs)
        return model


def keep_outputs(module, inputs, outputs):
    if module.training:
        module.last = outputs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(place, all that the trial yielded, its result)."""
    here = worker(tmp_path_factory.mktemp("trial"))
    *reports, result = run_trial(TRIAL, baseline(), here)
    return here, reports, result


def test_it_yields_its_readings_and_last_its_one_result(finished):
    _, reports, result = finished
    assert all(isinstance(report, Report) for report in reports)
    assert isinstance(result, TrialResult)
    assert (result.id, result.config, result.status, result.reason) == (TRIAL, baseline(), Status.COMPLETED, None)
    assert result.history == tuple(reports)
    assert [report.step for report in reports] == [2, 3, 5, 10, 20, 30, 40]


def test_its_figures_are_those_of_the_weights_that_it_kept(finished):
    here, reports, result = finished
    task = load_task("digits_cnn", {"channels": 4})
    model = task.build_model()
    model.load_state_dict(torch.load(io.BytesIO(here.storage.read(f"trials/{TRIAL}/weights.pt")), weights_only=True))
    validation = evaluate(model, task, open_data(task, here.cache).validation, here)
    assert result.metrics["val_loss"] == validation["loss"]
    assert result.metrics["val_accuracy"] == validation["accuracy"]
    assert result.metrics["val_accuracy"].value == reports[-1].metrics["val_accuracy"]
    assert result.metrics["parameters"].value == sum(p.numel() for p in model.parameters())


def test_it_has_every_figure_that_is_promised(finished):
    _, reports, result = finished
    promised = ["val_loss", "val_accuracy", "train_loss", "train_accuracy", "best_val_loss", "best_val_accuracy"]
    promised += ["best_train_loss", "best_train_accuracy"]
    promised += ["examples_per_second", "train_seconds", "steps", "examples", "gradient_norm_mean"]
    promised += ["gradient_norm_max", "noise_scale", "parameters", "artifact_bytes"]
    promised += ["micro_batch_size", "accumulation_steps"]
    assert sorted(result.metrics) == sorted(promised)
    for name in ("val_loss", "val_accuracy", "train_loss", "train_accuracy"):
        assert result.metrics[name].low < result.metrics[name].value < result.metrics[name].high
    assert all(figure.low is not None or figure.note for figure in result.metrics.values())
    for name, best in {"loss": min, "accuracy": max}.items():
        for metric in (f"val_{name}", f"train_{name}"):
            assert result.metrics[f"best_{metric}"].value == best(report.metrics[metric] for report in reports)
    assert result.metrics["examples"].value == 40 * 32
    assert set(result.environment) >= {"device", "cpu", "threads", "torch", "python", "precision", "node"}
    began, ended = (datetime.fromisoformat(result.environment[name]) for name in ("started_at", "ended_at"))
    assert timedelta(seconds=result.metrics["train_seconds"].value) <= ended - began + timedelta(milliseconds=1)
    assert ended <= datetime.now(UTC)


def test_the_exported_model_is_the_trained_one(finished, tmp_path):
    here, _, result = finished
    assert result.files == {"weights": "weights.pt", "model": "model.pt2"}
    content = here.storage.read(f"trials/{TRIAL}/model.pt2")
    assert result.metrics["artifact_bytes"].value == len(content)
    (tmp_path / "model.pt2").write_bytes(content)
    task = load_task("digits_cnn", {"channels": 4})
    exported = load_model(tmp_path / "model.pt2")
    model = task.build_model()
    model.load_state_dict(torch.load(io.BytesIO(here.storage.read(f"trials/{TRIAL}/weights.pt")), weights_only=True))
    images = open_data(task, here.cache).validation.column("image")[:5].clone()
    torch.testing.assert_close(exported(images), model.eval()(images))


def test_a_checkpoint_goes_when_the_result_was_taken_and_not_before(tmp_path):
    here = worker(tmp_path)
    running = run_trial(TRIAL, baseline(), here)
    while not isinstance(next(running), TrialResult):
        pass
    assert here.storage.exists(f"trials/{TRIAL}/checkpoint.pt")
    assert list(running) == []
    assert not here.storage.exists(f"trials/{TRIAL}/checkpoint.pt")


def test_a_trial_that_diverges_says_when_and_keeps_its_readings(tmp_path):
    here = worker(tmp_path)
    *reports, result = run_trial(TRIAL, baseline(f"{__name__}:Unstable"), here)
    assert result.status is Status.DIVERGED
    assert result.reason == "the loss was nan at step 26"
    assert result.history == tuple(reports)
    assert [report.step for report in reports] == [2, 3, 5, 10, 20]
    assert result.files == {}
    assert "best_val_accuracy" in result.metrics
    assert "val_accuracy" not in result.metrics, "there is no trained model to judge"
    assert here.storage.names(f"trials/{TRIAL}") == []


def test_a_trial_that_diverges_at_once_has_nothing_to_show(tmp_path):
    (result,) = run_trial(TRIAL, baseline(learning_rate=1e30), worker(tmp_path))
    assert result.status is Status.DIVERGED
    assert (result.history, result.metrics) == ((), {})


@pytest.mark.parametrize(
    ("task", "warning"), [("Unexportable", "cannot export Branching"), ("Uncopyable", "cannot be copied")]
)
def test_a_model_that_cannot_be_exported_is_a_baseline_with_a_warning(tmp_path, task, warning):
    here = worker(tmp_path)
    *_, result = run_trial(TRIAL, baseline(f"{__name__}:{task}"), here)
    assert result.status is Status.COMPLETED
    assert result.files == {"weights": "weights.pt"}
    assert warning in result.warnings[0]
    assert "artifact_bytes" not in result.metrics


def test_an_error_of_the_task_is_raised_as_it_is(tmp_path):
    with pytest.raises(TypeError, match="multiply sequence"):
        list(run_trial(TRIAL, baseline(options={"channels": "many"}), worker(tmp_path)))


def test_weights_depend_on_the_seed_alone(tmp_path, finished):
    here = worker(tmp_path)
    torch.manual_seed(12345)
    list(run_trial(TRIAL, baseline(), here))
    read = lambda where: torch.load(  # noqa: E731
        io.BytesIO(where.storage.read(f"trials/{TRIAL}/weights.pt")), weights_only=True
    )
    assert differing(read(here), read(finished[0])) == []
    assert bits(load_task("digits_cnn", {"channels": 4}).build_model()).keys() == read(here).keys()


def test_a_loss_that_is_the_datas_doing_is_traced_to_its_row(tmp_path, monkeypatch):
    broken = table(64).gather(np.arange(64))
    broken["features"][41, 1] = math.nan
    data = TaskData(Table(broken), table(16), lambda: table(16))
    monkeypatch.setattr("trainables.trial.open_data", lambda *_, **__: data)
    monkeypatch.setattr("trainables.trial.load_task", lambda *_: Regression(dropout=0.0))
    *_, result = run_trial(TRIAL, baseline(), worker(tmp_path))
    assert result.status is Status.DIVERGED
    assert "column 'features' of the train data holds NaN or infinity, first in row 41" in result.reason
    assert table(64).not_finite() is None


def test_validation_data_that_is_not_finite_is_no_fault_of_the_training(tmp_path, monkeypatch):
    broken = table(16).gather(np.arange(16))
    broken["features"][7, 0] = math.nan
    data = TaskData(table(64), Table(broken), lambda: table(16))
    monkeypatch.setattr("trainables.trial.open_data", lambda *_, **__: data)
    monkeypatch.setattr("trainables.trial.load_task", lambda *_: Regression(dropout=0.0))
    *_, result = run_trial(TRIAL, baseline(), worker(tmp_path))
    assert result.status is Status.DIVERGED
    assert result.reason.startswith("the validation loss was nan at step")
    assert "column 'features' of the validation data holds NaN or infinity, first in row 7" in result.reason
