"""Probes and new divisions on a CUDA device that is made small."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.training_samples import training, worker
from trainables.config.optimizers import Adam
from trainables.config.trial import BaselineConfig, ProbeConfig, TaskConfig, Throughput
from trainables.probe.probe import in_processes
from trainables.results import Status, TrialResult
from trainables.trial import run_trial

LIMIT = 2**30
GREEDY = TaskConfig(name="tests.support.hungry:Greedy", data="of the test", code="of the test")


@pytest.fixture
def small(cuda: torch.device) -> Iterator[torch.device]:
    """The device, of which this process may have `LIMIT` bytes."""
    total = torch.cuda.get_device_properties(cuda).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(LIMIT / total, cuda)
    yield cuda
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1.0, cuda)


def baseline(batch_size: int, micro_batch_size: int) -> BaselineConfig:
    settings = training(batch_size, 6, micro_batch_limit=micro_batch_size, optimizer=Adam(), evaluations=2)
    return BaselineConfig(task=GREEDY, training=settings)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_what_is_found_is_near_the_limit_and_a_whole_training_fits(
    tmp_path: Path, small: torch.device, precision: str
) -> None:
    config = ProbeConfig(task=GREEDY, optimizer=Adam(), precision=precision, memory_limit_bytes=LIMIT)
    here = worker(tmp_path, device=small)
    *_, result = run_trial("probe", config, here)
    assert isinstance(result, TrialResult)
    assert result.status is Status.COMPLETED, result.details
    figures = {name: estimate.value for name, estimate in result.metrics.items()}
    found = int(figures["largest_micro_batch_size"])
    assert figures["memory_capacity_bytes"] == LIMIT
    assert figures["probes"] <= 6
    too_many = int(found / 0.95) + 2
    assert in_processes(config, here, torch.get_num_threads())(too_many).peak_bytes is None

    config_of_training = baseline(3 * found, found)
    planned = config_of_training.training.model_copy(update={"precision": precision})
    *_, trained = run_trial("full", config_of_training.model_copy(update={"training": planned}), here)
    assert isinstance(trained, TrialResult)
    assert trained.metrics["micro_batch_size"].value == found
    assert trained.warnings == ()


def test_memory_that_really_runs_out_divides_the_batch_anew(tmp_path: Path, small: torch.device) -> None:
    *_, result = run_trial("full", baseline(1024, 1024), worker(tmp_path, device=small))
    assert isinstance(result, TrialResult)
    assert result.status is Status.COMPLETED
    assert result.metrics["micro_batch_size"].value in (64, 128, 256)
    assert result.metrics["micro_batch_size"].value * result.metrics["accumulation_steps"].value == 1024
    assert "memory ran out at micro_batch_size 1024" in result.warnings[0]


def test_steps_are_timed(tmp_path: Path, cuda: torch.device) -> None:
    task = TaskConfig(name="digits_cnn", data="of the test", code="of the test")
    config = ProbeConfig(task=task, max_micro_batch_size=256, throughput=Throughput(rounds=8))
    *_, result = run_trial("probe", config, worker(tmp_path, device=cuda))
    assert isinstance(result, TrialResult)
    steps = [name for name in result.metrics if name.startswith("step_seconds")]
    assert steps == [f"step_seconds_micro_batch_{2**i}" for i in range(9)]
    assert all(result.metrics[name].low is not None for name in steps)
