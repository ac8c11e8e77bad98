"""Training on lists of unequal length: the gradient of the mean over all tokens, resumed to the bit, judged on all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.ragged_task import Tags, tags_in, tags_tables
from tests.support.training_samples import bits, build, differing, training, worker
from trainables.config.optimizers import Adam, Sgd
from trainables.config.trial import ProbeConfig, TaskConfig
from trainables.measure.artifact import load_model
from trainables.outputs import save_model
from trainables.probe.process import longest_row
from trainables.tasks.columns_read import columns_of
from trainables.tasks.task_data import open_data
from trainables.training.evaluate import evaluate, evaluation_rows
from trainables.training.loop import train
from trainables.training.micro_batches import micro_batches_of_steps
from trainables.training.run import TrainingRun

DOUBLE = torch.float64


def test_only_lists_that_are_read_are_in_the_table_with_their_masks(tmp_path: Path) -> None:
    task = tags_in(tmp_path)
    assert columns_of(task) == {"tokens", "tags", "tokens_mask"}
    data = open_data(task, tmp_path / "cache")
    assert list(data.train.columns) == ["tokens", "tokens_mask", "tags", "tags_mask"]
    same = tags_tables(64).train.gather(np.arange(9))
    assert all(torch.equal(one, same[name]) for name, one in data.train.gather(np.arange(9)).items() if name != "tags")


@pytest.mark.parametrize("limit", [1, 5, 24])
def test_the_gradient_is_the_mean_over_all_tokens_however_rows_are_divided(tmp_path: Path, limit: int) -> None:
    task, data = Tags(double=True), tags_tables(24)
    model = build(task, dtype=DOUBLE)
    before = bits(model)
    settings = training(24, 1, optimizer=Sgd(momentum=0.0), micro_batch_limit=limit, evaluations=1)
    list(train(model, task, data, settings, worker(tmp_path)))
    whole = data.train.gather(np.arange(24))
    reference = build(task, dtype=DOUBLE)
    task.losses(task.forward(reference, whole), whole).mean().backward()
    for name, parameter in reference.named_parameters():
        assert parameter.grad is not None
        moved = (before[name] - model.state_dict()[name]) / settings.learning_rate
        torch.testing.assert_close(moved, parameter.grad, rtol=1e-9, atol=1e-12)


def test_a_run_that_is_stopped_after_any_reading_and_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    def run(model: torch.nn.Module, folder: Path):
        settings = training(9, 30, optimizer=Adam(), micro_batch_limit=3, evaluations=3)
        return train(model, Tags(), tags_tables(40), settings, worker(folder), checkpoint="trials/x/checkpoint.pt")

    whole = build(Tags())
    readings = list(run(whole, tmp_path / "whole"))
    assert readings[-1].metrics["val_accuracy"] > 0.9
    for number in range(len(readings)):
        model = build(Tags(), seed=99 if number else 0)
        running = run(model, tmp_path / "parts")
        next(running)
        running.close()
    assert differing(bits(whole), bits(model)) == []


def test_each_micro_batch_is_as_long_as_its_own_longest_row(tmp_path: Path) -> None:
    data, device = tags_tables(64), torch.device("cpu")
    run = TrainingRun.build(build(Tags()), Tags(), data, training(16, micro_batch_limit=4), worker(tmp_path))
    steps = list(micro_batches_of_steps(data.train, run.rows, 0, 16, 4, 4, device))
    shapes = [batch["tokens"].shape for step in steps for batch in step]
    assert len(set(shapes)) > 4
    for step in steps:
        for batch in step:
            assert batch["tokens_mask"].any(0).all()  # no place is padding in all of its rows
    tokens = sum(int(batch["tokens_mask"].sum()) for step in steps for batch in step)
    assert tokens == data.train.gather(np.arange(64))["tokens_mask"].sum()  # an epoch: every token once


def test_judging_takes_every_token_once_whatever_the_batches(tmp_path: Path) -> None:
    task, table = Tags(double=True), tags_tables(50).validation
    model, here = build(task, dtype=DOUBLE), worker(tmp_path)
    whole = table.gather(np.arange(50))
    with torch.no_grad():
        losses = task.losses(task.forward(model, whole), whole)
    for rows in (1, 7, 50):
        found = evaluate(model, task, table, here, rows)
        assert found["loss"].value == pytest.approx(losses.mean().item(), rel=1e-9)
        assert found["loss"].n == len(losses)
    assert evaluation_rows(model, task, table, training(8), here) >= 50


def test_the_exported_model_takes_rows_of_any_length(tmp_path: Path) -> None:
    task, data = Tags(), tags_tables(40)
    model = build(task)
    save_model(model, task, data, "0123456789ab", worker(tmp_path))
    loaded = load_model(tmp_path / "storage" / "trials" / "0123456789ab" / "model.pt2")
    for rows in ([0], [3, 1], list(range(40))):
        batch = data.test.gather(np.array(rows))
        torch.testing.assert_close(task.forward(loaded, batch), task.forward(model.eval(), batch))
    padded = data.test.gather(np.array([0]), least_length=data.test.longest + 9)
    assert task.forward(loaded, padded).shape == (1, data.test.longest + 9, 2)


def test_the_memory_probe_fills_its_batches_with_the_longest_row(tmp_path: Path) -> None:
    table = tags_tables(64).train
    config = ProbeConfig(task=TaskConfig(name="x:Tags", data="", code=""))
    longest, looked = longest_row(build(Tags()), Tags(), table, worker(tmp_path), config)
    assert table.lengths is not None
    assert (longest, looked) == (table.lengths.argmax(), 64)
