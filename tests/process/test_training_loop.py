"""Training: known answers, budgets, readings, divergence."""

import math

import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import nn

from tests.support.looped import run
from tests.support.training_samples import table
from trainables.config.optimizers import Adam, Sgd
from trainables.config.schedules import WarmupCosine
from trainables.config.training import Budget, GrowAt, GrowWithNoise
from trainables.data.table import Table
from trainables.tasks.base import Task
from trainables.tasks.task_data import TaskData


class Line(Task):
    """Linear least squares."""

    def build_model(self, width=1.0):
        return nn.Linear(3, 1)

    def losses(self, outputs, batch):
        return (outputs.squeeze(1) - batch["target"]).square()


@pytest.mark.parametrize("optimizer", [Sgd(momentum=0.9), Adam()])
def test_least_squares_reaches_its_closed_form(tmp_path, optimizer):
    rows = table(50, dtype=torch.float64)
    design = torch.cat([rows.column("features"), torch.ones(50, 1, dtype=torch.float64)], dim=1)
    solution = torch.linalg.lstsq(design, rows.column("target")[:, None]).solution.squeeze(1)
    model, _ = run(
        tmp_path,
        Line(),
        TaskData(rows, rows, lambda: rows),
        torch.float64,
        batch_size=50,
        micro_batch_limit=17,
        steps=1000,
        optimizer=optimizer,
        schedule=WarmupCosine(warmup_fraction=0.1),
    )
    found = torch.cat([model.weight[0], model.bias]).detach()
    torch.testing.assert_close(found, solution, rtol=0, atol=1e-5)


def test_a_batch_that_grows_with_its_noise_has_no_early_readings(tmp_path):
    """It would decide there on the noise of its first steps, and for good."""
    budget = {"budget": Budget(unit="examples", amount=1024), "batch_size": 2, "evaluations": 8}
    for schedule, first in ((GrowWithNoise(), 128), (GrowAt(), 16)):
        _, history = run(tmp_path, batch_schedule=schedule, **budget)
        assert history[0].examples == first
        assert len(history) == (8 if first == 128 else 11)


def test_diabetes_by_least_squares_has_its_published_error(tmp_path):
    features, target = load_diabetes(return_X_y=True)
    x = torch.from_numpy(features)
    x = torch.linalg.qr(x - x.mean(0)).Q * math.sqrt(len(x))  # the same fit, and gradient descent gets there
    rows = Table({"features": x, "target": torch.from_numpy(target)})

    class Diabetes(Line):
        def build_model(self, width=1.0):
            return nn.Linear(10, 1)

    _, history = run(
        tmp_path,
        Diabetes(),
        TaskData(rows, rows, lambda: rows),
        torch.float64,
        batch_size=442,
        micro_batch_limit=100,
        steps=200,
        learning_rate=0.1,
        optimizer=Sgd(momentum=0.5),
    )
    assert history[-1].metrics["val_loss"] == pytest.approx(2859.70, abs=0.01)
