"""A trial whose micro-batch does not fit is divided anew, and says so."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.training_samples import training, worker
from trainables.compression.distill import distill
from trainables.compression.fine_tune import Context, Trained, fine_tune
from trainables.config.compression import Distill, FineTune
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.results import Report, Status, TrialResult
from trainables.seal import sealed
from trainables.tasks.load import load_task
from trainables.tasks.task_data import open_data
from trainables.training.data_parallel import MicroBatchTooLargeError
from trainables.trial import run_trial

HUNGRY = TaskConfig(name="tests.support.hungry:Hungry", data="of the test", code="of the test")


def trial(folder: Path, most_rows: int, after_steps: int = 0, **changes: Any) -> tuple[list[Report], TrialResult]:
    options = {"most_rows": most_rows, "after_steps": after_steps}
    settings = training(**{"batch_size": 24, "steps": 12, "evaluations": 3, "learning_rate": 0.02} | changes)
    task = HUNGRY.model_copy(update={"options": options})
    *reports, result = run_trial("0123456789ab", BaselineConfig(task=task, training=settings), worker(folder))
    assert isinstance(result, TrialResult)
    return [report for report in reports if isinstance(report, Report)], result


def test_memory_that_runs_out_halves_the_micro_batch_until_it_fits(tmp_path: Path) -> None:
    reports, result = trial(tmp_path, most_rows=8)
    assert result.status is Status.COMPLETED
    assert result.metrics["micro_batch_size"].value == 6  # 24 -> 12 -> 6: halves that divide the batch
    assert result.metrics["accumulation_steps"].value == 4
    assert [report.examples for report in reports] == [24, 48, 96, 192, 288]  # the effective batch is what it was
    assert all(report.metrics["learning_rate"] == 0.02 for report in reports)
    (warning,) = result.warnings
    assert "micro_batch_size 24" in warning
    assert "4 micro-batches of 6" in warning
    assert "batch norm then sees 6 rows" in warning
    assert result.config.kind == "baseline"
    assert result.config.training.micro_batch_size == 24  # what was planned, so that the id is that of the content


def test_it_goes_on_from_the_last_reading(tmp_path: Path) -> None:
    """Memory runs out in the sixth step: the first four were kept in a checkpoint."""
    reports, result = trial(tmp_path, most_rows=12, after_steps=5)
    assert [report.step for report in reports] == [1, 2, 4, 8, 12]
    assert result.status is Status.COMPLETED
    assert [report.step for report in result.history] == [1, 2, 4, 8, 12]
    assert result.metrics["micro_batch_size"].value == 12


def test_who_resumes_it_knows_the_division_that_fits(tmp_path: Path) -> None:
    options = {"most_rows": 8}
    task = HUNGRY.model_copy(update={"options": options})
    config = BaselineConfig(task=task, training=training(24, 12, evaluations=3))
    interrupted = run_trial("0123456789ab", config, worker(tmp_path))
    next(interrupted)
    interrupted.close()
    (left,) = (tmp_path / "storage").rglob("*.micro_batch_size")
    assert json.loads(left.read_text())["micro_batch_size"] == 6
    left.write_bytes(sealed(b'{"micro_batch_size": 4}'))  # as if it had needed smaller ones yet: what is written counts
    *_, result = run_trial("0123456789ab", config, worker(tmp_path))
    assert isinstance(result, TrialResult)
    assert result.metrics["micro_batch_size"].value == 4
    assert [report.step for report in result.history] == [1, 2, 4, 8, 12]
    assert "6 micro-batches of 4" in result.warnings[0]
    assert not list((tmp_path / "storage").rglob("*.micro_batch_size"))  # once the result has been taken


def test_two_rows_that_do_not_fit_where_batch_norm_needs_them_are_a_shortage_of_memory(tmp_path: Path) -> None:
    task = HUNGRY.model_copy(update={"name": "tests.support.hungry:Normed", "options": {"most_rows": 1}})
    with pytest.raises(MicroBatchTooLargeError, match="memory ran out, and Expected more than 1 value per channel"):
        list(run_trial("0123456789ab", BaselineConfig(task=task, training=training(8, 4)), worker(tmp_path)))


def end_of(readings: Generator[Report, None, Trained]) -> Trained:
    while True:
        try:
            next(readings)
        except StopIteration as end:
            trained: Trained = end.value
            return trained


@pytest.mark.parametrize("step", [FineTune(budget_fraction=0.5), Distill(width=0.5)])
def test_a_variant_is_divided_too_and_ends_as_one_planned_so(tmp_path: Path, step: FineTune | Distill) -> None:
    ends = {}
    for most_rows, micro in ((8, None), (10**6, 6)):
        task = load_task("tests.support.hungry:Hungry", {"most_rows": most_rows}, ())
        here = worker(tmp_path / str(most_rows))
        settings = training(24, 24, micro_batch_limit=micro, evaluations=3)
        context = Context(task, open_data(task, here.cache), settings, here)
        torch.manual_seed(0)
        parent = task.build_model()
        match step:
            case FineTune():
                ends[most_rows] = end_of(fine_tune(parent, step, context, "trials/x/step0.pt", ()))
            case Distill():
                ends[most_rows] = end_of(distill(parent, step, context, "trials/x/step0.pt", ()))
    divided, planned = ends.values()
    assert "4 micro-batches of 6" in divided.warnings[0]
    assert planned.warnings == ()
    assert [report.step for report in divided.history] == [report.step for report in planned.history]
    mine, theirs = divided.model.state_dict(), planned.model.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_single_row_that_does_not_fit_is_out_of_memory(tmp_path: Path) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        trial(tmp_path, most_rows=0)
