"""Trials that follow a script in the task's options, for tests of executors.

    readings     how many readings the trial gives before its result (default 3)
    quality      the objective grows to this value over the readings
    best_rate    it grows to the more, the closer the learning rate is to this one
    ends         the status of its result (default: completed)
    sleep_s      time spent before each reading
    collective   every worker waits for all others before each reading, as gradients do
    fail         raise | system_exit | die | hang | out_of_memory | memory_error | too_large | full_disk: before reading
                 `at`, on worker `rank`
    times        how many attempts fail so (default: all)
    worn         at its end, the process is one that has grown too much in too many trials
    tamper       turn every global setting of the process, and leave it so
A trial keeps a checkpoint of its readings and goes on from it. Every attempt leaves a file that tells its process.
Trials of other tasks are run in earnest.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist

import trainables.trial
import trainables.worker.runner
from orchestrator.adaptive.resolve import Outlook
from orchestrator.sweep.plan import ParentChoice, PendingVariant, Plan, Trial
from orchestrator.sweep.spec import EarlyStopping, Objective, Parameters, Resources, Sweep, TaskChoice, TaskFacts
from tests.support.places import ROOT
from trainables.config.compression import FineTune
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, MeasureSettings, Scalar, TaskConfig, VariantConfig, trial_id
from trainables.distributed.worker_context import WorkerContext
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage, checkpoint_file, trial_file
from trainables.training.micro_batch_fallback import SmallerNextError

RUNNER = "tests.support.scripted:run_trial"


def run_trial(
    trial: str, config: BaselineConfig | VariantConfig, worker: WorkerContext
) -> Iterator[Report | TrialResult]:
    if config.task.name != "scripted":
        yield from trainables.trial.run_trial(trial, config, worker)
        return
    script: dict[str, Any] = dict(config.task.options)
    checkpoint = checkpoint_file(trial)
    history = _resume(worker.storage, checkpoint)
    worker.wait_for_all()  # the first one to go on writes the checkpoint anew
    attempt = _leave_mark(worker, trial, len(history))
    if script.get("tamper"):
        from tests.support.turned import turn_everything

        turn_everything(worker.cache)
    if script.get("worn"):
        trainables.worker.runner.LEAST_TRIALS, trainables.worker.runner.WORN_BYTES = 1, -(1 << 40)
    count = int(script.get("readings", 3))
    for number in range(len(history) + 1, count + 1):
        time.sleep(float(script.get("sleep_s", 0.0)))
        if number == script.get("at") and worker.rank == script.get("rank", 0) and attempt < script.get("times", 99):
            _fail(str(script["fail"]))
        if script.get("collective") and worker.world_size > 1:
            dist.all_reduce(torch.ones(1))
        examples = number * 1000
        quality = _quality(script, config) * number / count
        report = Report(step=number, examples=examples, seconds=0.1 * number, metrics={"val_accuracy": quality})
        history.append(report)
        if worker.is_rank_zero:
            content = json.dumps([report.model_dump() for report in history])
            worker.storage.write(checkpoint, content.encode())
        yield report
    yield TrialResult(
        id=trial,
        config=config,
        status=Status(script.get("ends", "completed")),
        history=tuple(history),
        metrics={"val_accuracy": Estimate.exact(history[-1].metrics["val_accuracy"])},
        environment={"pid": str(os.getpid()), "num_workers": str(worker.world_size)},
    )
    if worker.is_rank_zero:
        worker.storage.remove(checkpoint)


def _quality(script: dict[str, Any], config: BaselineConfig | VariantConfig) -> float:
    if "best_rate" in script:
        return 1 - 0.1 * abs(math.log2(config.training.learning_rate / script["best_rate"]))
    return float(script.get("quality", 1.0))


def _resume(storage: Storage, checkpoint: str) -> list[Report]:
    if not storage.exists(checkpoint):
        return []
    return [Report.model_validate(report) for report in json.loads(storage.read(checkpoint))]


def _leave_mark(worker: WorkerContext, trial: str, resumed_at: int) -> int:
    """Returns which attempt of this worker at this trial it is, from 0."""
    prefix = f"attempt-{worker.rank}-"
    attempt = sum(name.startswith(prefix) for name in worker.storage.names(f"trials/{trial}"))
    mark = {"pid": os.getpid(), "resumed_at": resumed_at, "time": time.time()}
    worker.storage.write(trial_file(trial, f"{prefix}{attempt}.json"), json.dumps(mark).encode())
    return attempt


def attempts(storage: Storage, trial: str, rank: int = 0) -> list[dict[str, Any]]:
    """The marks of a worker's attempts at a trial, in order: `pid`, `resumed_at` (a reading), `time`."""
    mark = re.compile(rf"attempt-{rank}-\d+\.json")  # whole: one that is being written has another ending yet
    names = filter(mark.fullmatch, storage.names(f"trials/{trial}"))
    return [json.loads(storage.read(trial_file(trial, name))) for name in names]


def _fail(how: str) -> None:
    match how:
        case "raise":
            raise ValueError("as the script says")
        case "system_exit":
            raise SystemExit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "out_of_memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 TiB.")
        case "hang":
            threading.Event().wait()
        case "too_large":
            raise SmallerNextError("as the script says")
        case "full_disk":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "memory_error":
            torch.empty(1 << 50)
        case _:
            raise AssertionError(f"no such failure: {how}")


def scripted(
    seed: int = 0, *, num_workers: int = 1, batch_size: int = 8, learning_rate: float = 0.1, **script: Scalar
) -> Trial:
    """A baseline that follows its script; `seed` tells like trials apart."""
    training = Training(
        batch_size=batch_size,
        micro_batch_size=batch_size // num_workers,
        num_workers=num_workers,
        learning_rate=learning_rate,
        budget=Budget(unit="examples", amount=1000 * int(script.get("readings", 3))),
        seed=seed,
    )
    task = TaskConfig(name="scripted", options=script, data="data", code="code")
    config = BaselineConfig(task=task, training=training)
    return Trial(trial_id(config), config, "as written")


def pending(candidates: Sequence[Trial], chain_length: int = 0) -> PendingVariant:
    """A variant of the best of these trials."""
    choice = ParentChoice(rule="best of some", configurations=tuple((trial.id,) for trial in candidates))
    chain = (FineTune(),) * chain_length
    key = f"{'-'.join(trial.id for trial in candidates)}-{chain_length}"
    return PendingVariant(key=key, choice=choice, seed_index=None, chain=chain, measure=MeasureSettings())


def result_of(trial: Trial, quality: float) -> TrialResult:
    """A made-up result."""
    metrics = {"val_accuracy": Estimate.exact(quality)}
    return TrialResult(id=trial.id, config=trial.config, status=Status.COMPLETED, metrics=metrics)


class Told:
    """An observer that records its calls: ("started", id), ("report", id, step), ("ended", id)."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.waiting: list[tuple[str, str]] = []  # apart: on a slow machine workers are waited for while they start

    def started(self, trial: Trial) -> None:
        self.events.append(("started", trial.id))

    def report(self, trial_id: str, report: Report) -> None:
        self.events.append(("report", trial_id, report.step))

    def waits(self, trial_id: str, reason: str) -> None:
        self.waiting.append((trial_id, reason))

    def planned(self, outlook: Outlook) -> None:
        self.total = outlook.total

    def ended(self, result: TrialResult) -> None:
        self.events.append(("ended", result.id))


def sweep_of(
    *trials: Trial,
    pending: Sequence[PendingVariant] = (),
    early_stopping: EarlyStopping | None = None,
    cpus_per_worker: int = 1,
    no_progress_minutes: float = 60,
    at_a_time: int | None = None,
) -> Plan:
    """A plan of scripted trials."""
    sweep = Sweep(
        name="scripted",
        task=TaskChoice(name="scripted"),
        facts=TaskFacts(
            metrics={"loss": "min", "accuracy": "max"},
            train_rows=1000,
            data=("data",),
            code="code",
            search_path=(str(ROOT),),
        ),
        objective=Objective(metric="val_accuracy", mode="max"),
        budget=Budget(unit="examples", amount=3000),
        parameters=Parameters(batch_size=(8,), learning_rate=(0.1,), optimizer=(), schedule=()),
        early_stopping=early_stopping,
        resources=Resources(
            cpus_per_worker=cpus_per_worker, no_progress_minutes=no_progress_minutes, max_concurrent_trials=at_a_time
        ),
    )
    return Plan(sweep=sweep, trials=trials, pending=tuple(pending))
