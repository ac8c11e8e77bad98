"""A trial whose micro-batch does not fit is divided anew, and says so."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.running.failures import Retry
from orchestrator.running.gang import Assignment, divide
from tests.training_samples import place, training
from trainables.compression.distill import distill
from trainables.compression.fine_tune import Context, Trained, fine_tune
from trainables.config.compression import Distill, FineTune
from trainables.config.training import Adam, AdamW, Optimizer, Sgd
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.results import Report, Status, TrialResult
from trainables.seal import sealed
from trainables.tasks.load import load_task
from trainables.tasks.task_data import open_data
from trainables.training.data_parallel import MicroBatchTooLargeError, _stand_ins
from trainables.training.micro_batch_record import next_division
from trainables.training.optimizer import build_optimizer
from trainables.trial import run_trial
from trainables.worker.ray_worker import WorkerGroupConfig

HUNGRY = TaskConfig(name="tests.hungry:Hungry", data="of the test", code="of the test")


def trial(folder: Path, most_rows: int, after_steps: int = 0, **changes: Any) -> tuple[list[Report], TrialResult]:
    options = {"most_rows": most_rows, "after_steps": after_steps}
    settings = training(**{"batch_size": 24, "steps": 12, "evaluations": 3, "learning_rate": 0.02} | changes)
    task = HUNGRY.model_copy(update={"options": options})
    *reports, result = run_trial("0123456789ab", BaselineConfig(task=task, training=settings), place(folder))
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
    interrupted = run_trial("0123456789ab", config, place(tmp_path))
    next(interrupted)
    interrupted.close()
    (left,) = (tmp_path / "storage").rglob("*.micro_batch_size")
    assert json.loads(left.read_text())["micro_batch_size"] == 6
    left.write_bytes(sealed(b'{"micro_batch_size": 4}'))  # as if it had needed smaller ones yet: what is written counts
    *_, result = run_trial("0123456789ab", config, place(tmp_path))
    assert isinstance(result, TrialResult)
    assert result.metrics["micro_batch_size"].value == 4
    assert [report.step for report in result.history] == [1, 2, 4, 8, 12]
    assert "6 micro-batches of 4" in result.warnings[0]
    assert not list((tmp_path / "storage").rglob("*.micro_batch_size"))  # once the result has been taken


def test_two_rows_that_do_not_fit_where_batch_norm_needs_them_are_a_shortage_of_memory(tmp_path: Path) -> None:
    task = HUNGRY.model_copy(update={"name": "tests.hungry:Normed", "options": {"most_rows": 1}})
    with pytest.raises(MicroBatchTooLargeError, match="memory ran out, and Expected more than 1 value per channel"):
        list(run_trial("0123456789ab", BaselineConfig(task=task, training=training(8, 4)), place(tmp_path)))


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
        task = load_task("tests.hungry:Hungry", {"most_rows": most_rows}, ())
        here = place(tmp_path / str(most_rows))
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


def test_what_fits_is_left_as_planned(tmp_path: Path) -> None:
    _, result = trial(tmp_path, most_rows=24)
    assert result.warnings == ()
    assert result.metrics["micro_batch_size"].value == 24
    assert result.metrics["micro_batch_size"].note == "as planned"


def test_a_single_row_that_does_not_fit_is_out_of_memory(tmp_path: Path) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        trial(tmp_path, most_rows=0)


def test_a_worker_killed_for_its_memory_is_followed_by_one_that_takes_less(tmp_path: Path) -> None:
    """What the gang writes down is what the next attempt trains with, down to single rows."""
    settings = training(24, steps=12, evaluations=3, learning_rate=0.02)
    task = HUNGRY.model_copy(update={"options": {"most_rows": 24, "after_steps": 0}})
    config = BaselineConfig(task=task, training=settings)
    workers = {"num_workers": 1, "cpus_per_worker": 1, "gpus_per_worker": 0}
    group = WorkerGroupConfig(storage=place(tmp_path).storage.uri, runner="r", scratch="s", **workers)
    job = Assignment(trial="0123456789ab", config=config, group=group, objective="val_loss")
    decisions = [divide(job) for _ in range(2)]
    assert all(isinstance(decision, Retry) and not decision.counts for decision in decisions)
    *_, result = run_trial(job.trial, config, place(tmp_path))
    assert isinstance(result, TrialResult)
    assert result.metrics["micro_batch_size"].value == 6
    assert result.warnings[0].startswith("memory ran out at micro_batch_size 24, so the batch of 24 was divided into 4")
    another = job.model_copy(update={"trial": "another"})
    assert sum(divide(another) is not None for _ in range(6)) == 4  # 12, 6, 3, 1


@pytest.mark.parametrize(
    ("optimizer", "kept"), [(Sgd(momentum=0.0), 0), (Sgd(momentum=0.9), 1), (Adam(), 2), (AdamW(), 2)]
)
def test_room_is_reserved_for_what_an_optimizer_does_not_hold_yet(optimizer: Optimizer, kept: int) -> None:
    """Beside one copy for the buckets; after a resumption the optimiser's numbers are there already."""
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad_(False)  # is not trained, so nothing is kept of it
    fresh, resumed = (build_optimizer(optimizer, model.parameters(), 0.1) for _ in range(2))
    assert [one.shape for one in _stand_ins(model, fresh)] == [model.weight.shape] * (1 + kept)
    model(torch.ones(1, 3)).sum().backward()
    fresh.step()
    resumed.load_state_dict(fresh.state_dict())
    assert len(_stand_ins(model, fresh)) == len(_stand_ins(model, resumed)) == 1


def test_divisions_keep_the_batch() -> None:
    planned = training(90, num_workers=2)  # 45 rows a worker
    seen = []
    while planned is not None:
        assert planned.micro_batch_size * planned.accumulation_steps * 2 == 90
        seen.append(planned.micro_batch_size)
        planned = next_division(planned)
    assert seen == [45, 15, 5, 1]
