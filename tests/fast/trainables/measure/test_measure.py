"""What the measuring process computes, and what its owner is told when it cannot."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.config.trial import MeasureSettings, TaskConfig
from trainables.data.table import Table
from trainables.measure.exported_model import ExportedModel
from trainables.measure.measure import MeasureRequest, accuracy, gather, mean, mean_over_rows, of_first_rows
from trainables.tasks.base import Batch, Task
from trainables.training.evaluate import ItemsError

CPU = torch.device("cpu")
ROWS = 23  # no multiple of the rows of a call


class Line(Task):
    """y = x, where the loss is the squared difference and each row has `items` of them."""

    train = validation = test = "nowhere"
    inputs = ("x",)
    metrics = {"distance": "min"}  # noqa: RUF012 - as a user writes it

    def build_model(self, width: float = 1.0) -> nn.Module:
        return nn.Identity()

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return (outputs - batch["y"]).square().flatten()

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"distance": (outputs - batch["y"]).abs().flatten()}


class Shift(nn.Module):
    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, x: Tensor) -> Tensor:
        return x + self.amount


def subject(model: nn.Module) -> ExportedModel:
    """A model as it is: whether it is compiled is not what these tests are about."""
    return cast(ExportedModel, SimpleNamespace(compiled=model, eager=model, warm_up=lambda inputs: None))


def request(folder: Path, **changes: Any) -> MeasureRequest:
    settings = {
        "task": TaskConfig(name="diabetes_mlp", options={"features": 8, "layers": 1}, data="test", code="test"),
        "model": str(folder / "model.pt2"),
        "parent": None,
        "measure": MeasureSettings(device="cpu", batch_sizes=(1, 8)),
        "cache": str(folder / "cache"),
    }
    return MeasureRequest(**{**settings, **changes})


@pytest.mark.parametrize("items", [1, 3])
def test_every_row_counts_once_also_when_the_last_call_is_filled_up(items: int, tmp_path: Path) -> None:
    x = torch.randn(ROWS, items, generator=torch.Generator().manual_seed(0))
    table = Table({"x": x, "y": torch.zeros(ROWS, items)})
    subjects = {"": subject(Shift(1.0)), "reference_": subject(nn.Identity())}
    found = accuracy(subjects, Line(), table, request(tmp_path), CPU)
    values = {"": (x.double() + 1).square().mean(1), "reference_": x.double().square().mean(1)}
    for prefix, rows in values.items():
        estimate = found[f"{prefix}val_loss"]
        assert estimate.value == pytest.approx(float(rows.mean()), rel=1e-5)
        assert estimate.n == ROWS  # items of one row are not independent
    change = values[""] - values["reference_"]
    assert found["val_loss_change"].value == pytest.approx(float(change.mean()), rel=1e-5)
    half = (found["val_loss_change"].high - found["val_loss_change"].low) / 2
    assert half == pytest.approx(1.96 * float(change.std()) / ROWS**0.5, rel=0.1)
    assert found["val_distance"].value == pytest.approx(float((x + 1).abs().mean()), rel=1e-5)


def test_a_change_is_known_better_than_the_two_figures_it_is_the_difference_of() -> None:
    """Paired row by row: what makes a row hard is hard for both."""
    table = Table({"x": 10 * torch.randn(200, 1, generator=torch.Generator().manual_seed(0)), "y": torch.zeros(200, 1)})
    subjects = {"": subject(Shift(0.01)), "reference_": subject(nn.Identity())}
    found = accuracy(subjects, Line(), table, request(Path("unused")), CPU)
    width = {name: found[name].high - found[name].low for name in ("val_loss", "val_loss_change")}
    assert width["val_loss_change"] < 0.01 * width["val_loss"]


def test_batches_have_the_shape_that_was_compiled() -> None:
    table = Table({"x": torch.arange(5)})
    assert gather(table, 4, 3, CPU)["x"].tolist() == [3, 4, 0, 1]
    assert gather(table, 12, 0, CPU)["x"].tolist() == [*range(5), *range(5), 0, 1]


def test_items_of_a_row_stand_together() -> None:
    estimate = mean_over_rows([torch.arange(6.0), torch.arange(2.0)], [3, 1])
    assert (estimate.value, estimate.n, estimate.note) == (2.0, 4, None)


def test_every_item_weighs_the_same_where_rows_have_different_numbers_of_them() -> None:
    """The first call's 6 items would divide among its 3 rows, by chance."""
    estimate = mean_over_rows([torch.zeros(6), torch.ones(7)], [3, 3])
    assert estimate.value == pytest.approx(7 / 13)
    assert estimate.n == 13
    assert "different numbers of items" in (estimate.note or "")


class Words(Line):
    """As Line, of which only the positions with a target count: other numbers of them in each row."""

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return (outputs - batch["y"]).square()[batch["counts"]]

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"distance": (outputs - batch["y"]).abs()[batch["counts"]]}


def test_texts_of_different_lengths_are_weighed_by_their_items(tmp_path: Path) -> None:
    """As in training, and in the evaluation of the baseline."""
    x = torch.randn(ROWS, 9, generator=torch.Generator().manual_seed(0))
    counts = torch.arange(9) < (torch.arange(ROWS) % 9 + 1)[:, None]
    table = Table({"x": x, "y": torch.zeros(ROWS, 9), "counts": counts})
    subjects = {"": subject(Shift(1.0)), "reference_": subject(nn.Identity())}
    found = accuracy(subjects, Words(), table, request(tmp_path), CPU)
    items = x.double()[counts]
    assert found["val_loss"].value == pytest.approx(float((items + 1).square().mean()), rel=1e-5)
    assert found["val_loss_change"].value == pytest.approx(float((2 * items + 1).mean()), rel=1e-5)
    assert found["val_loss"].n == len(items)


@pytest.mark.parametrize("items", [1, 3])
def test_outputs_may_hold_the_items_of_a_row_one_after_another(items: int) -> None:
    outputs = torch.arange(8 * items * 2).reshape(8 * items, 2)
    assert torch.equal(of_first_rows(outputs, 5, 8), outputs[: 5 * items])


@pytest.mark.parametrize("shape", [(), (3, 8), (12, 2)])
def test_outputs_of_another_shape_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ItemsError, match=r"outputs for 8 rows must be of shape \[rows, ...\] or"):
        of_first_rows(torch.zeros(shape), 5, 8)


def test_mean_has_the_interval_of_its_values() -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(3.0, 2.0, 400))
    estimate = mean(values)
    assert estimate.value == pytest.approx(float(values.mean()))
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * float(values.std()) / 20, rel=0.02)
