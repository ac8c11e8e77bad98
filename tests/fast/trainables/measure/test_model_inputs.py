"""What is exported, calibrated and timed is given what the task's own `forward` gives the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.scaled_model import Scaled, batch, pictures
from trainables.measure.artifact import ArtifactError, export_model, load_model
from trainables.measure.model_inputs import model_inputs
from trainables.tasks.base import Batch


def test_the_inputs_are_what_forward_makes_of_the_columns() -> None:
    task, rows = Scaled(), batch(pictures())
    model = task.build_model()
    (given,) = model_inputs(task, model, rows)
    torch.testing.assert_close(given, (rows["raw"].float() - 100) / 5)
    assert task.forward(model, rows).shape == (3, 2), "the model is as it was"


def test_the_exported_model_is_called_by_the_same_forward(tmp_path: Path) -> None:
    task, rows = Scaled(), batch(pictures())
    model = task.build_model().eval()
    exported = load_model(export_model(model, model_inputs(task, model, rows), tmp_path / "model.pt2"))
    torch.testing.assert_close(task.forward(exported, rows), task.forward(model, rows))


class Parts(Scaled):
    """Calls a part of its model, never the model."""

    def forward(self, model: Any, batch: Batch) -> Tensor:
        outputs: Tensor = model[0](batch["raw"].float())
        return outputs


def test_of_a_task_that_only_calls_parts_the_columns_are_taken() -> None:
    rows = batch(pictures())
    assert model_inputs(Parts(), Parts().build_model(), rows)[0] is rows["raw"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model, x: model(input=x), "gives the model input= by name"),
        (lambda model, x: model({"x": x}), "gives the model a dict"),
        (lambda model, x: model(x, torch.tensor(1.0)), "a tensor without rows"),
        (lambda model, x: model(x, x[:1]), r"different numbers of rows: \[3, 1, 6, 6\], \[1, 1, 6, 6\]"),
    ],
)
def test_what_no_exported_model_takes_is_named(call: Any, words: str) -> None:
    class Odd(Scaled):
        def forward(self, model: nn.Module, batch: Batch) -> Tensor:
            outputs: Tensor = call(model, batch["raw"].float())
            return outputs

    with pytest.raises(ArtifactError, match=words):
        model_inputs(Odd(), Scaled().build_model(), batch(pictures()))


# -- what finding the inputs leaves as it was -------------------------------------------------------------------------


class Normed(Scaled):
    """Calls parts of its model, one of which keeps statistics and takes no single row in training."""

    def build_model(self, width: float = 1.0) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 2))

    def forward(self, model: Any, batch: Batch) -> Tensor:
        outputs: Tensor = model[2](model[1](model[0](batch["raw"].float())))
        return outputs


def test_a_model_in_training_is_neither_changed_nor_stopped_by_a_single_row() -> None:
    model = Normed().build_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert model_inputs(Normed(), model, batch(pictures(), 1))[0].shape == (1, 1, 6, 6)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_batch_is_brought_to_where_the_model_is() -> None:
    """Another device stands for a GPU here."""
    (given,) = model_inputs(Scaled(), Scaled().build_model().to("meta"), batch(pictures()))
    assert given.device.type == "meta"


def test_a_forward_that_fails_is_no_exported_model() -> None:
    class Failing(Scaled):
        def forward(self, model: nn.Module, batch: Batch) -> Tensor:
            raise KeyError("rwa")

    with pytest.raises(ArtifactError, match=r"Failing.forward\(\) failed: 'rwa'"):
        model_inputs(Failing(), Scaled().build_model(), batch(pictures()))
