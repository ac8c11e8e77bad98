"""Evaluation: means over items, intervals over rows, the model left as it was found."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from tests.support.training_samples import Ragged, Regression, bits, build, differing, table, tables, training, worker
from trainables.data.table import Table
from trainables.tasks.base import Task
from trainables.training.evaluate import SMALL_OUTPUTS_BYTES, evaluate, evaluate_both, evaluation_rows


class Echo(Task):
    """The loss of an item is what the column `value` says."""

    metrics = {"double": "max"}  # noqa: RUF012

    def build_model(self, width=1.0):
        return nn.Identity()

    def forward(self, model, batch):
        return model(batch["value"])

    def losses(self, outputs, batch):
        return outputs.flatten()

    def scores(self, outputs, batch):
        return {"double": 2 * outputs.flatten()}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return worker(tmp_path_factory.mktemp("evaluate"))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=60), st.integers(1, 70))
def test_the_mean_and_its_interval_do_not_depend_on_the_batches(here, values, batch_rows):
    assume(not set(values) <= {0, 1})  # a share, which has another interval: see test_shares
    column = torch.tensor(values, dtype=torch.float64)
    figures = evaluate(nn.Identity(), Echo(), Table({"value": column}), here, batch_rows)
    half = 1.959963984540054 * np.std(values, ddof=1) / math.sqrt(len(values))
    assert figures["loss"].value == pytest.approx(np.mean(values), abs=1e-9)
    assert figures["loss"].high - figures["loss"].low == pytest.approx(2 * half, abs=1e-4)
    assert figures["double"].value == pytest.approx(2 * np.mean(values), abs=1e-9)
    assert figures["loss"].n == len(values)


def test_the_items_of_a_row_are_not_independent(here):
    """Five items that say the same are one observation: the interval is that of the rows."""
    rows = torch.randn(40, 1, generator=torch.Generator().manual_seed(0))
    alone = evaluate(nn.Identity(), Echo(), Table({"value": rows}), here)["loss"]
    five = evaluate(nn.Identity(), Echo(), Table({"value": rows.repeat(1, 5)}), here, batch_rows=7)["loss"]
    assert five.n == alone.n == 40
    assert (five.low, five.high) == pytest.approx((alone.low, alone.high))


def test_rows_of_different_length_are_weighted_by_their_items(here):
    task, rows = Ragged(), table(50)
    model = build(task).eval()
    batch = rows.gather(np.arange(50))
    losses = task.losses(task.forward(model, batch), batch)
    figure = evaluate(model, task, rows, here, batch_rows=9)["loss"]
    assert figure.value == pytest.approx(losses.mean().item())
    assert figure.n == len(losses)
    assert "different numbers of items" in figure.note


@pytest.mark.parametrize("empty", [9, 50])
def test_a_batch_without_any_item_counts_for_nothing(here, empty):
    """As where all its tokens are padding."""
    rows = table(50)
    count = rows.column("count").clone()
    count[:empty] = 0
    ragged = Table({"features": rows.column("features"), "target": rows.column("target"), "count": count})
    model, rest = build(Ragged()).eval(), ragged.gather(np.arange(empty, 50))
    losses = Ragged().losses(Ragged().forward(model, rest), rest)
    figure = evaluate(model, Ragged(), ragged, here, batch_rows=9)["loss"]
    assert figure.n == len(losses)
    assert figure.value == pytest.approx(losses.mean().item(), nan_ok=True)


def test_a_batch_has_room_for_the_longest_of_its_rows(here):
    """Where a task cuts away padding, a short first row says nothing of a batch."""

    class Cut(Echo):
        def forward(self, model, batch):
            values = batch["value"]
            return torch.ones(len(values), int(values.max())).mean(1)

    lengths = torch.full((100,), 1 << 18)
    lengths[0] = 1
    settings = training(8)
    assert evaluation_rows(nn.Identity(), Cut(), Table({"value": lengths[:1]}), settings, here) == 1024
    rows = evaluation_rows(nn.Identity(), Cut(), Table({"value": lengths}), settings, here)
    assert 8 < rows <= SMALL_OUTPUTS_BYTES // (4 << 18)


def test_a_sample_is_the_same_rows_every_time_and_all_of_them_when_the_limit_is_high(here):
    rows = Table({"value": torch.arange(1000.0)})
    sample = evaluate(nn.Identity(), Echo(), rows, here, limit=50)["loss"]
    assert sample.n == 50
    assert sample == evaluate(nn.Identity(), Echo(), rows, here, batch_rows=7, limit=50)["loss"]
    assert sample.low < 499.5 < sample.high
    assert evaluate(nn.Identity(), Echo(), rows, here, limit=5000)["loss"].n == 1000


def test_the_model_is_evaluated_in_eval_mode_and_left_as_it_was(here):
    model = build(Regression())
    model[1].eval()  # someone froze the statistics of batch norm
    before = bits(model)
    first = evaluate(model, Regression(), table(40), here)
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True]
    assert first == evaluate(model, Regression(), table(40), here), "no dropout, no running statistics"
    assert differing(before, bits(model)) == []


def test_a_task_that_does_not_score_what_it_promises_is_named(here):
    class Forgetful(Echo):
        def scores(self, outputs, batch):
            return {}

    with pytest.raises(ValueError, match=r"Forgetful.scores\(\) returned \[\], without \['double'\]"):
        evaluate(nn.Identity(), Forgetful(), Table({"value": torch.zeros(3)}), here)


def test_training_data_is_judged_on_as_many_rows_as_validation(here):
    figures = evaluate_both(build(Regression()), Regression(), tables(64), training(), here, 16)
    assert {name: value.n for name, value in figures.items()} == dict.fromkeys(figures, 33)
    assert set(figures) == {"val_loss", "val_absolute_error", "train_loss", "train_absolute_error"}


def test_bfloat16_is_evaluated_as_it_was_trained(here):
    model = build(Regression())
    exact = evaluate(model, Regression(), table(40), here)["loss"].value
    coarse = evaluate(model, Regression(), table(40), here, precision="bfloat16")["loss"].value
    assert coarse != exact
    assert coarse == pytest.approx(exact, rel=0.05)


def test_no_rows_give_no_figure(here):
    assert math.isnan(evaluate(nn.Identity(), Echo(), Table({"value": torch.zeros(0)}), here)["loss"].value)
