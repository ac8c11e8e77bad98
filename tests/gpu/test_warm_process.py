"""A warm worker on a CUDA device: a trial's result and the memory left do not depend on what ran before it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.training_samples import differing, training, worker
from tests.support.turned import turn_everything
from trainables.config.optimizers import Adam
from trainables.config.trial import AnyTrialConfig, BaselineConfig, TaskConfig
from trainables.distributed.worker_context import WorkerContext
from trainables.process.isolation import Snapshot
from trainables.results import Report, TrialResult
from trainables.trial import run_trial
from trainables.worker.messages import Advance, Answer, Finished, Raised, Reading, Start
from trainables.worker.runner import Runner, can_go_on

TASK = TaskConfig(name="diabetes_mlp", data="of the test", code="of the test")
CONFIG = BaselineConfig(task=TASK, training=training(32, 40, optimizer=Adam(), learning_rate=1e-3))
SECONDS = ("train_seconds", "examples_per_second")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = Snapshot.take()
    yield
    before.restore()


def mixed(trial: str, config: AnyTrialConfig, here: WorkerContext) -> Iterator[Report | TrialResult]:
    """Trials that leave a mess, by their names; the others are real."""
    if trial == "nasty":
        kept = torch.ones(2**26, device=here.device)
        turn_everything(Path(here.storage.path("")).parent)
        raise RuntimeError(f"it has left its settings and {kept.numel()} numbers")
    if trial == "greedy":
        kept = torch.ones(2**26, device=here.device)
        total = torch.cuda.get_device_properties(here.device).total_memory
        raise RuntimeError(f"{kept.numel()} numbers and {torch.empty(total, device=here.device).numel()} more")
    yield from run_trial(trial, config, here)


def to_its_end(runner: Runner, trial: str) -> Answer:
    answer = runner.obey(Start(trial=trial, config=CONFIG))
    while isinstance(answer, Reading):
        answer = runner.obey(Advance())
    runner.let_go()
    return answer


def outcome(runner: Runner, here: WorkerContext, trial: str) -> tuple[dict[str, Any], dict[str, float]]:
    answer = to_its_end(runner, trial)
    assert isinstance(answer, Finished)
    weights = torch.load(here.storage.path(f"trials/{trial}/weights.pt"), weights_only=True)
    metrics = {name: one.value for name, one in answer.result.metrics.items() if name not in SECONDS}
    return weights, {name: value for name, value in metrics.items() if value == value}


@pytest.mark.parametrize(("before", "cause"), [("nasty", "exception"), ("greedy", "out_of_memory")])
def test_a_trial_has_the_same_bits_first_in_its_process_and_after_another(
    tmp_path: Path, cuda: torch.device, before: str, cause: str
) -> None:
    here = worker(tmp_path, device=cuda)
    runner = Runner(mixed, here)
    weights, metrics = outcome(runner, here, "first")
    free = torch.cuda.memory_allocated(cuda)
    failed = to_its_end(runner, before)
    assert isinstance(failed, Raised)
    assert failed.failure.cause == cause
    assert can_go_on(failed.failure, here) == (before == "nasty")
    again, same = outcome(runner, here, "second")
    assert differing(weights, again) == []
    assert same == metrics
    assert torch.cuda.memory_allocated(cuda) == free
