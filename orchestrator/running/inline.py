"""Executes a sweep's trials in this process, one after another, without Ray or other processes: for debugging and
tests.

The ledger, observers, early stopping and the handling of failures are the same as with gangs on Ray. Limits of a single
process: trials with several workers are refused before anything runs; a trial that hangs is not ended; a trial that
ends the process, for example by running out of memory, ends the sweep, and the same command resumes it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from orchestrator.running.early_stopping import Stopping
from orchestrator.running.executor import RUN_TRIAL, Interrupted, NobodyAtWorkError
from orchestrator.running.failures import Attempts, Retry
from orchestrator.running.ledger import Ledger
from orchestrator.running.patience import TRY_AGAIN_S, Patience
from orchestrator.running.resources import NeverFitsError
from orchestrator.sweep.plan import Trial
from orchestrator.sweep.spec import Sweep
from trainables.config.trial import AnyTrialConfig, BaselineConfig, ProbeConfig
from trainables.data.fingerprint import default_cache
from trainables.distributed.worker_context import WorkerContext
from trainables.results import Status
from trainables.storage import Storage
from trainables.worker.messages import Advance, EndedTrial, Finished, GroupFailure, Paused, Raised, Reading, Start
from trainables.worker.runner import Runner, load_runner


@dataclass(frozen=True)
class InlineExecutor:
    """See orchestrator.running.executor.Executor."""

    runner: str = RUN_TRIAL
    cache: Path | None = None  # folder for converted data; by default this machine's

    @property
    def is_here(self) -> bool:
        return True

    def run(self, ledger: Ledger, storage: Storage) -> None:
        """Raises NeverFitsError if a trial needs several workers."""
        check_one_worker(ledger.open_trials())
        worker = WorkerContext(storage, self.cache or default_cache(), device=_device())
        try:
            with _as_a_worker(ledger.plan.sweep):
                runner = Runner(load_runner(self.runner), worker, passes_on=(KeyboardInterrupt,))
                with closing(runner):
                    process = InlineProcess(runner, ledger)
                    while not ledger.is_complete:
                        process.run(ledger.first_open())
        except KeyboardInterrupt:
            raise Interrupted(len(ledger.results), len(ledger.trials)) from None


class InlineProcess:
    """This process in the role of a worker."""

    def __init__(self, runner: Runner, ledger: Ledger) -> None:
        self._runner = runner
        self._ledger = ledger
        self._stopping = Stopping(ledger)
        self._patience = Patience(ledger.tell)
        self._has_device = True

    def run(self, trial: Trial) -> None:
        """Run a trial to its end, with as many attempts as are allowed.

        Raises StorageFailsError, and NobodyAtWorkError if the trial has made this process's accelerator unusable.
        """
        self._ledger.started(trial.id)
        attempts = Attempts(trial.id, divide=lambda: None)  # only needed for killed workers, and here is none
        while (decision := self._attempt(trial, attempts)) is not None:
            match decision:
                case Paused(reason=reason):
                    self._ledger.waits(trial.id, "for the storage")
                    self._patience.failed(trial.id, reason)
                    time.sleep(TRY_AGAIN_S)
                case EndedTrial(status=status, reason=reason, details=details):
                    self._ledger.ended_as(trial.id, status, reason, details)
                    if not self._has_device:
                        raise NobodyAtWorkError(f"{reason}. Nothing is lost: run the same command again to resume")
                    return

    def _attempt(self, trial: Trial, attempts: Attempts) -> Retry | Paused | EndedTrial | None:
        """Run from the trial's checkpoint, if any, to its end (returns None) or to a failure (returns the decision)."""
        answer = self._runner.obey(Start(trial=trial.id, config=trial.config))
        while True:
            if isinstance(answer, Raised):
                self._has_device = answer.failure.cause != "device"
                return attempts.after(GroupFailure(failures=(answer.failure,)))
            self._patience.works(trial.id)
            match answer:
                case Finished(result=result):
                    self._ledger.ended(result)
                    return None
                case Reading(report=report):
                    is_over = self._stopping.is_over(trial.id, report)
                    self._ledger.report(trial.id, report)
                    if is_over:
                        self._ledger.ended_as(trial.id, Status.STOPPED_EARLY, self._stopping.reason(trial.id))
                        return None
            answer = self._runner.obey(Advance())


def check_one_worker(trials: Iterable[Trial]) -> None:
    """Raises NeverFitsError."""
    for trial in trials:
        if (workers := _num_workers(trial.config)) > 1:
            raise NeverFitsError(
                f"trial {trial.id} needs {workers} workers, but the inline executor has one: limit num_workers to 1, "
                "or run the sweep with Ray"
            )


def _num_workers(config: AnyTrialConfig) -> int:
    match config:
        case BaselineConfig(training=training):
            return training.num_workers
        case ProbeConfig(num_workers=num_workers):
            return num_workers
        case _:
            return 1


@contextmanager
def _as_a_worker(sweep: Sweep) -> Iterator[None]:
    """In the block, this process can import the task's modules, and has as many threads as a worker of the sweep."""
    path, threads = sys.path[:], torch.get_num_threads()
    sys.path[:0] = [folder for folder in sweep.facts.search_path if folder not in path]
    torch.set_num_threads(sweep.resources.cpus_per_worker)
    try:
        yield
    finally:
        sys.path[:] = path
        torch.set_num_threads(threads)


def _device() -> torch.device:
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
