"""The loop body of a worker, without Ray: what a trial may do, and what is left of it."""

from __future__ import annotations

import errno
import gc
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from pydantic import ValidationError

from orchestrator.running.failures import decide_after_failure
from tests.support.scripted import result_of, scripted
from trainables.data.sources import DataError
from trainables.distributed.worker_context import WorkerContext
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage, StorageError
from trainables.training.micro_batch_fallback import SmallerNextError
from trainables.worker.messages import (
    Advance,
    Answer,
    Cause,
    EndedTrial,
    Finished,
    GroupFailure,
    Message,
    NoWorkersYet,
    Paused,
    Raised,
    Reading,
    Shutdown,
    Start,
    WorkerFailure,
    decode,
    encode,
)
from trainables.worker.runner import LEAST_TRIALS, Runner, Wear, can_go_on, cause_of, load_runner

TRIAL = scripted()
START = Start(trial=TRIAL.id, config=TRIAL.config)


def reading(step: int) -> Report:
    return Report(step=step, examples=step, seconds=step, metrics={"loss": float("nan")})


@pytest.fixture
def worker(tmp_path: Path) -> WorkerContext:
    return WorkerContext(Storage(str(tmp_path)), tmp_path)


def runner_of(trial: Callable[[WorkerContext], Iterator[Any]], worker: WorkerContext) -> Runner:
    return Runner(lambda name, config, worker: trial(worker), worker)


def answers(runner: Runner, *commands: Start | Advance) -> list[Answer]:
    return [runner.obey(command) for command in commands]


def test_a_trial_runs_only_as_far_as_it_is_told(worker: WorkerContext) -> None:
    log = []

    def trial(worker: WorkerContext) -> Iterator[Any]:
        for step in (1, 2):
            log.append(step)
            yield reading(step)
        log.append("result")
        yield result_of(TRIAL, 0.5)
        log.append("tidy")

    runner = runner_of(trial, worker)
    assert isinstance(runner.obey(START), Reading)
    assert log == [1]
    runner.obey(Advance())
    assert log == [1, 2]
    assert runner.obey(Advance()) == Finished(result=result_of(TRIAL, 0.5))
    assert log == [1, 2, "result"]  # the result may not have arrived yet
    runner.let_go()
    assert log == [1, 2, "result", "tidy"]


def test_a_stopped_trial_is_closed_when_the_next_one_starts(worker: WorkerContext) -> None:
    log = []

    def trial(worker: WorkerContext) -> Iterator[Any]:
        try:
            yield reading(1)
            log.append("went on")
        finally:
            log.append("closed")

    runner = runner_of(trial, worker)
    runner.obey(START)
    assert log == []
    runner.obey(START)
    assert log == ["closed"]


def raises(error: BaseException) -> Callable[[WorkerContext], Iterator[Any]]:
    def trial(worker: WorkerContext) -> Iterator[Any]:
        yield reading(1)
        raise error

    return trial


def test_a_process_that_cannot_be_cleaned_is_the_failure_of_the_trial_that_was_to_begin(
    worker: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the working directory is gone: were it nobody's failure, the trial would be tried without end."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    runner = runner_of(lambda _: iter([reading(1)]), worker)
    os.chdir(tmp_path)
    (tmp_path / "gone").rmdir()
    answer = runner.obey(START)
    assert isinstance(answer, Raised)
    assert answer.failure.trial == TRIAL.id
    assert isinstance(decide_after_failure(TRIAL.id, GroupFailure(failures=(answer.failure,)), 0), EndedTrial)


@pytest.mark.parametrize("error", [ValueError("no\ngood"), SystemExit(3), KeyboardInterrupt(), StopIteration("odd")])
def test_whatever_a_trial_raises_is_an_answer(worker: WorkerContext, error: BaseException) -> None:
    runner = runner_of(raises(error), worker)
    _, answer = answers(runner, START, Advance())
    assert isinstance(answer, Raised)
    assert answer.failure.trial == TRIAL.id
    assert "\n" not in answer.failure.error
    assert "in trial" in answer.failure.traceback
    assert isinstance(runner.obey(START), Reading)  # the next one runs


def test_no_password_of_an_address_is_told(worker: WorkerContext) -> None:
    error = OSError("s3://key:hunter2@bucket/data cannot be reached")
    _, answer = answers(runner_of(raises(error), worker), START, Advance())
    assert isinstance(answer, Raised)
    assert answer.failure.error.startswith("OSError: s3://bucket/data cannot be reached (test_runner.py, line ")
    assert "hunter2" not in answer.failure.traceback


@pytest.mark.parametrize("rest", [[], [reading(1)], ["nonsense"]])
def test_a_trial_must_end_with_its_result(worker: WorkerContext, rest: list[Any]) -> None:
    runner = runner_of(lambda worker: iter(rest), worker)
    answer = runner.obey(START)
    if isinstance(answer, Reading):
        answer = runner.obey(Advance())
    assert isinstance(answer, Raised)
    assert "without a result" in answer.failure.error


def test_telling_a_worker_to_go_on_with_nothing_is_an_error(worker: WorkerContext) -> None:
    runner = runner_of(lambda worker: iter([result_of(TRIAL, 0.5)]), worker)
    assert isinstance(runner.obey(Advance()), Raised)
    assert isinstance(runner.obey(START), Finished)
    assert isinstance(runner.obey(Advance()), Raised)


@pytest.mark.parametrize("how", ["stopped", "raised", "finished"])
def test_nothing_of_a_trial_outlives_it(worker: WorkerContext, how: str) -> None:
    models: list[weakref.ref[torch.nn.Module]] = []

    def trial(worker: WorkerContext) -> Iterator[Any]:
        model = torch.nn.Linear(2, 2)
        models.append(weakref.ref(model))
        if how == "raised":
            raise RuntimeError("a traceback keeps its frames alive", model)
        yield result_of(TRIAL, 0.5) if how == "finished" else reading(1)

    runner = runner_of(trial, worker)
    runner.obey(START)
    runner.let_go()
    gc.collect()
    assert models[0]() is None


def test_what_torch_keeps_of_every_trial_is_looked_through_once(worker: WorkerContext) -> None:
    """The objects that a collection goes through do not grow with the trials: an export leaves hundreds for good."""
    kept = []

    def trial(worker: WorkerContext) -> Iterator[Any]:
        kept.append([[number] for number in range(10_000)])
        yield result_of(TRIAL, 0.5)

    runner, seen = runner_of(trial, worker), []
    for _ in range(4):
        runner.obey(START)
        seen.append(len(gc.get_objects()))
    assert max(seen) < seen[0] + 5_000  # of 40,000


def test_a_worker_asks_to_be_renewed_when_it_has_grown_and_for_less_than_one_trial_in_a_hundred() -> None:
    grows = [Wear().after_trial(0), Wear().after_trial(1 << 40)]
    assert grows == [False, False]
    wear = Wear()
    asked = [wear.after_trial(number * (20 << 20)) for number in range(110)]  # 20 MiB a trial
    assert asked.index(True) == LEAST_TRIALS - 1
    slowly = Wear()
    assert [slowly.after_trial(number << 20) for number in range(1200)].index(True) == 1025  # more than 1 GiB
    steady = Wear()
    assert not any(steady.after_trial(8 << 30) for _ in range(500))


def test_settings_and_seeds_are_put_back_before_each_trial(worker: WorkerContext) -> None:
    drawn = []

    def trial(worker: WorkerContext) -> Iterator[Any]:
        drawn.append((torch.rand(1).item(), torch.get_default_dtype(), torch.is_grad_enabled()))
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        yield result_of(TRIAL, 0.5)

    runner = runner_of(trial, worker)
    answers(runner, START, START)
    runner._snapshot.restore()
    assert drawn[0] == drawn[1]
    assert drawn[0][1:] == (torch.float32, True)


def test_what_a_users_module_sets_while_it_is_imported_holds_for_every_trial(
    worker: WorkerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sets_things.py").write_text(
        "import os, torch\ntorch.set_default_dtype(torch.float64)\nos.environ['SET_BY_IT'] = '1'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = []

    def trial(worker: WorkerContext) -> Iterator[Any]:
        found.append((torch.get_default_dtype(), os.environ["SET_BY_IT"]))
        torch.set_default_dtype(torch.float16)
        yield result_of(TRIAL, 0.5)

    runner = runner_of(trial, worker)
    task = TRIAL.config.task.model_copy(update={"name": "sets_things:Task"})
    start = Start(trial=TRIAL.id, config=TRIAL.config.model_copy(update={"task": task}))
    answers(runner, start, start)
    runner._snapshot.restore()
    assert found == 2 * [(torch.float64, "1")]
    assert torch.get_default_dtype() == torch.float32
    assert "SET_BY_IT" not in os.environ


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


CASES: list[tuple[BaseException, int, Cause]] = [
    (chained(DataError("not written"), OSError(errno.ENOSPC, "full")), 1, "storage"),
    (StorageError("s3://bucket/x", OSError("unreachable")), 2, "storage"),
    (PermissionError(errno.EACCES, "the task's own doing"), 1, "exception"),
    (ValueError("plain"), 1, "exception"),
    (torch.OutOfMemoryError("CUDA out of memory"), 1, "out_of_memory"),
    (MemoryError(), 1, "out_of_memory"),
    (SmallerNextError("memory ran out at micro_batch_size 8"), 2, "too_large"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 1, "out_of_memory"),
    (RuntimeError("CUDA error: device-side assert triggered"), 1, "device"),
    (RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer"), 2, "peer"),
    (RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer"), 1, "exception"),
    (dist.DistNetworkError("gone"), 2, "peer"),
    (ConnectionResetError("Connection reset by peer"), 2, "exception"),
]


@pytest.mark.parametrize(("error", "num_workers", "cause"), CASES)
def test_the_cause_is_told_from_the_error(error: BaseException, num_workers: int, cause: Cause) -> None:
    assert cause_of(error, num_workers) == cause


def test_memory_that_is_really_not_there_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert cause_of(caught.value, 1) == "out_of_memory"


def test_only_a_sound_process_that_nobody_waits_for_goes_on(worker: WorkerContext) -> None:
    two = WorkerContext(worker.storage, worker.cache, world_size=2)
    for error, expected in ((ValueError(), True), (MemoryError(), False), (RuntimeError("CUDA error"), False)):
        answer = runner_of(raises(error), worker)
        _, raised = answers(answer, START, Advance())
        assert isinstance(raised, Raised)
        assert can_go_on(raised.failure, worker) is expected
        assert not can_go_on(raised.failure, two)


def test_a_runner_is_found_by_its_name() -> None:
    assert load_runner("tests.support.scripted:run_trial").__module__ == "tests.support.scripted"


def test_messages_survive_the_way() -> None:
    failure = WorkerFailure(rank=1, trial=TRIAL.id, cause="peer", error="Error", traceback="...")
    messages: list[Message] = [
        START,
        Advance(),
        Shutdown(),
        Reading(report=Report(step=1, examples=2, seconds=3.0, metrics={"loss": 4.0})),
        Raised(failure=failure),
        failure,
        GroupFailure(failures=(failure,), observed=((0, "its node has died"),)),
        EndedTrial(status=Status.FAILED, reason="because", details="..."),
        NoWorkersYet(reason="for 2 x (1 CPU)", node_is_lost=True),
        Paused(reason="No space left on device"),
    ]
    assert [decode(encode(message)) for message in messages] == messages
    result = TrialResult(id="x", config=TRIAL.config, status="failed", history=(reading(1),))
    back = decode(encode(Finished(result=result)))
    assert isinstance(back, Finished)
    assert back.result.model_dump_json() == result.model_dump_json()  # NaN and all


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        START.trial = "another"


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(ValidationError, match="'start', 'advance', 'shutdown'"):
        decode('{"event": "dance"}')
