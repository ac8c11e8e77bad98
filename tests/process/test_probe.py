"""Probes with real processes on this machine's memory: what is found fits, is near the limit, and says its bounds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from orchestrator.running.local_trial import run_locally
from tests.support.hungry import Heavy, Shortened, Trimmed
from tests.support.places import ROOT
from tests.support.training_samples import worker
from trainables.config.optimizers import Adam
from trainables.config.trial import ProbeConfig, TaskConfig, Throughput
from trainables.data.table import Table
from trainables.distributed.worker_context import WorkerContext
from trainables.probe import process as probe_process
from trainables.probe.model import build_run, probe_training, take_steps
from trainables.probe.process import MemoryNeed, MemoryRequest, ask, longest_row, looked_at
from trainables.process import memory
from trainables.results import Report, Status, TrialResult
from trainables.tasks.base import Task
from trainables.tasks.images import DigitsCnn
from trainables.tasks.task_data import open_data
from trainables.trial import run_trial

MIB = 2**20
LIMIT = 700 * MIB
DIGITS = TaskConfig(name="digits_cnn", options={"channels": 4}, data="of the test", code="of the test")
GREEDY = TaskConfig(name="tests.support.hungry:Greedy", data="of the test", code="of the test")
HEAVY = GREEDY.model_copy(update={"name": "tests.support.hungry:Heavy"})

FULL_TRAINING = """
import sys
from pathlib import Path
from trainables.process.malloc import give_back_large_blocks
give_back_large_blocks()
import torch
from tests.support.training_samples import worker, training
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.process.memory import guard
from trainables.trial import run_trial
from trainables.config.optimizers import Adam

folder, limit, micro = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
task = TaskConfig(name=sys.argv[4], data="of the test", code="of the test")
settings = training(3 * micro, 4, micro_batch_limit=micro, optimizer=Adam(), learning_rate=1e-3, evaluations=1)
guard(limit, lambda: (folder / "ran out").touch())
*_, result = run_trial("full", BaselineConfig(task=task, training=settings), worker(folder))
(folder / "result").write_text(f"{result.status} {result.metrics['micro_batch_size'].value:.0f}")
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def probed(folder: Path, **settings: Any) -> tuple[list[Report], TrialResult]:
    config = ProbeConfig(**{"task": DIGITS, **settings})
    *reports, result = run_trial("probe", config, worker(folder))
    assert isinstance(result, TrialResult)
    return [report for report in reports if isinstance(report, Report)], result


def measured(folder: Path, task: TaskConfig, micro_batch_size: int, limit: int) -> MemoryNeed:
    """Steps in a process that counts only what it holds itself."""
    request = MemoryRequest(
        config=ProbeConfig(task=task, optimizer=Adam()),
        device="cpu",
        threads=1,
        cache=str(folder / "cache"),
        micro_batch_size=micro_batch_size,
        capacity_bytes=limit,
        resident_bytes=0,
    )
    return MemoryNeed.model_validate_json(ask(request, worker(folder)))


def check_that_a_training_fits(folder: Path, task: TaskConfig, micro_batch_size: int, limit: int) -> None:
    command = [sys.executable, "-c", FULL_TRAINING, str(folder), str(limit), str(micro_batch_size), task.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not (folder / "ran out").exists()
    assert (folder / "result").read_text() == f"completed {micro_batch_size}"


@pytest.mark.nightly
def test_what_is_found_is_near_the_limit_and_a_whole_training_fits(tmp_path: Path) -> None:
    """As the command does it, with a worker of its own: what the process of the tests holds is nobody's business."""
    open_data(Heavy(), tmp_path / "cache")  # what this takes of a worker, once, is not to be measured
    config = ProbeConfig(task=GREEDY, optimizer=Adam(), memory_limit_bytes=LIMIT)
    *reports, result = run_locally(config, [str(ROOT)], tmp_path / "cache", 1)
    assert isinstance(result, TrialResult)
    assert result.status is Status.COMPLETED, result.details
    figures = {name: estimate.value for name, estimate in result.metrics.items()}
    found = int(figures["largest_micro_batch_size"])
    assert "limited by memory" in (result.metrics["largest_micro_batch_size"].note or "")
    assert figures["memory_capacity_bytes"] == LIMIT
    assert figures["memory_fixed_bytes"] + found * figures["memory_bytes_per_example"] <= LIMIT
    assert 2 * MIB <= figures["memory_bytes_per_example"] < 8 * MIB  # the product and its exponential are kept
    assert figures["probes"] == len(reports) == len(result.history) <= 6
    assert [int(report.metrics["micro_batch_size"]) for report in result.history[:2]] == [1, 4]
    alone = measured(tmp_path, GREEDY, 1, LIMIT).peak_bytes
    assert alone is not None
    held_by_the_worker = int(result.history[0].metrics["peak_memory_bytes"]) - alone  # beyond what a probe holds
    too_many = int(found / 0.95) + 2
    assert measured(tmp_path, GREEDY, too_many, LIMIT - held_by_the_worker).peak_bytes is None
    check_that_a_training_fits(tmp_path, GREEDY, found, LIMIT)


@pytest.mark.nightly
def test_a_checkpoint_fits_beside_the_gradients_too(tmp_path: Path) -> None:
    """At every reading weights and both of Adam's moments are there once more: 3 x weights above what steps hold."""
    open_data(Heavy(), tmp_path / "cache")
    weights = sum(parameter.nbytes for parameter in Heavy().build_model().parameters())
    steps = measured(tmp_path, HEAVY, 1, 8 * 2**30).peak_bytes
    assert steps is not None
    assert measured(tmp_path, HEAVY, 1, steps + weights).peak_bytes is None
    limit = steps + 4 * weights
    assert measured(tmp_path, HEAVY, 1, limit).peak_bytes == pytest.approx(steps, rel=0.02)  # what is on the line
    check_that_a_training_fits(tmp_path, HEAVY, 1, limit)


def test_where_memory_is_no_limit_the_data_is_and_steps_are_timed(tmp_path: Path) -> None:
    timing = Throughput(micro_batch_sizes=(16, 64, 100_000), rounds=6)
    reports, result = probed(tmp_path, throughput=timing)
    rows = open_data(Trimmed(), tmp_path / "cache").train.n_rows
    largest = result.metrics["largest_micro_batch_size"]
    assert largest.value == rows
    assert largest.note is not None
    assert f"the {rows:,} training rows" in largest.note
    assert result.metrics["probe_out_of_memory_errors"].value == 0
    timed = [name for name in result.metrics if name.startswith("step_seconds")]
    assert timed == ["step_seconds_micro_batch_16", "step_seconds_micro_batch_64"]
    for size in (16, 64):
        step = result.metrics[f"step_seconds_micro_batch_{size}"]
        rate = result.metrics[f"examples_per_second_micro_batch_{size}"]
        assert step.n == 6
        assert step.low is not None
        assert rate.high == pytest.approx(size / step.low)
        assert rate.value == pytest.approx(size / step.value)
    assert len(result.history) == len(reports) + 6  # every round's timings are kept, for pairs
    assert set(result.history[-1].metrics) == set(timed)


def test_a_single_row_that_does_not_fit_is_a_result(tmp_path: Path) -> None:
    _, result = probed(tmp_path, memory_limit_bytes=MIB)
    assert result.status is Status.OUT_OF_MEMORY
    assert result.metrics["largest_micro_batch_size"].value == 0
    assert result.reason is not None
    assert "a single row does not fit" in result.reason


NORMED = GREEDY.model_copy(update={"name": "tests.support.hungry:Normed"})


def test_batch_norm_of_vectors_is_probed_from_two_rows_on(tmp_path: Path) -> None:
    reports, result = probed(tmp_path, task=NORMED, max_micro_batch_size=8, throughput=Throughput(rounds=1))
    assert result.status is Status.COMPLETED, result.details
    assert result.metrics["largest_micro_batch_size"].value == 8
    assert [report.metrics["micro_batch_size"] for report in reports] == [2, 4, 8]
    timed = {name for name in result.metrics if name.startswith("step_seconds_micro_batch_")}
    assert timed == {f"step_seconds_micro_batch_{size}" for size in (2, 4, 8)}
    _, alone = probed(tmp_path, task=NORMED, max_micro_batch_size=1)
    assert (alone.status, alone.reason) == (
        Status.FAILED,
        "batch norm needs two rows, and max_micro_batch_size, or the data, has one",
    )


def test_a_process_that_fails_otherwise_is_a_result_with_its_reason(tmp_path: Path) -> None:
    _, result = probed(tmp_path, task=GREEDY.model_copy(update={"name": "tests.support.hungry:Broken"}))
    assert result.status is Status.FAILED
    assert result.reason == "probing failed: no loss today"
    assert "Traceback" in (result.details or "")


def test_a_precision_that_the_device_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="float16 needs"):
        probed(tmp_path, precision="float16")


@pytest.mark.parametrize("task", [Trimmed(), Shortened()], ids=["items", "pixels"])
def test_the_longest_row_is_the_one_that_most_is_computed_of(tmp_path: Path, task: Task) -> None:
    here: WorkerContext = worker(tmp_path)
    table = open_data(task, here.cache).train
    row, looked = longest_row(task.build_model(), task, table, here, ProbeConfig(task=DIGITS))
    assert row is not None
    assert looked > 100
    assert int(table.column("label")[row]) == 9


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_where_all_rows_are_alike_none_is_the_longest(tmp_path: Path, precision: str) -> None:
    here, task = worker(tmp_path), DigitsCnn(channels=4)
    config = ProbeConfig.model_validate({"task": DIGITS, "precision": precision})
    assert longest_row(task.build_model(), task, open_data(task, here.cache).train, here, config)[0] is None


def test_one_long_row_among_thousands_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_process, "ALIKE_SECONDS", 60.0)  # as on a machine with time
    monkeypatch.setattr(probe_process, "LOOKED_AT_SECONDS", 60.0)
    labels = torch.zeros(4000, dtype=torch.int64)
    labels[2718] = 9
    table = Table({"image": torch.rand(4000, 1, 8, 8), "label": labels})
    task = Shortened()
    row, looked = longest_row(task.build_model(), task, table, worker(tmp_path), ProbeConfig(task=DIGITS))
    assert (row, looked) == (2718, 4000)


def test_a_few_of_the_rows_that_are_looked_at_are_from_everywhere() -> None:
    """A slow model has time for a few only, and a table may be sorted by length."""
    rows = looked_at(100_000)
    assert (rows.min(), rows.max(), len(set(rows.tolist()))) == (0, 99_999, len(rows))
    assert np.ptp(rows[:8]) > 50_000
    assert sorted(looked_at(3).tolist()) == [0, 1, 2]


def test_a_step_is_timed_at_every_size_as_a_training_with_this_batch_takes_it(tmp_path: Path) -> None:
    """Prepared for the largest size, it would divide all gradients once more at the others."""

    def kernels(prepared_for: int) -> list[str]:
        here, config = worker(tmp_path), ProbeConfig(task=DIGITS)
        run = build_run(config, probe_training(config, prepared_for), here)
        with Kernels() as seen:
            take_steps(run, probe_training(config, 4), 2)
        return seen.names

    assert kernels(32) == kernels(4)


class Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The names of all that is computed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("version", [1, 2])
def test_the_memory_of_a_container_counts(tmp_path: Path, version: int) -> None:
    """The tightest of the groups around a process, without what is only cached of files."""
    own = tmp_path / "cgroup"
    own.write_text("5:cpu,cpuacct:/a/b\n4:memory:/a/b\n" if version == 1 else "0::/a/b\n")
    limit, used = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    )
    base = tmp_path / "sys" / "memory" if version == 1 else tmp_path / "sys"
    for folder, most in ((base / "a" / "b", "max"), (base / "a", str(1000 * MIB)), (base, str(9000 * MIB))):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit).write_text(f"{most}\n")
        (folder / used).write_text(f"{300 * MIB}\n")
        (folder / "memory.stat").write_text(f"inactive_file {60 * MIB}\nactive_file {40 * MIB}\nanon 5\n")
    assert min(memory._container_room(tmp_path / "sys", own)) == 800 * MIB


def test_the_guard_ends_a_process_that_takes_too_much(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from trainables.process.memory import guard, resident_bytes
guard(resident_bytes() + 2**27, lambda: Path(sys.argv[1]).touch())
kept = [bytearray(2**22) for _ in range(1000)]
print("took four gibibytes")
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "said")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert (tmp_path / "said").exists()
