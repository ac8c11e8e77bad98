"""Runs one trial after another in one process, each only up to the next evaluation. Knows nothing of Ray."""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist

from trainables.config.trial import AnyTrialConfig
from trainables.distributed.worker_context import WorkerContext
from trainables.error_text import TrialWarning, own_place
from trainables.process.isolation import Snapshot
from trainables.process.memory import out_of_memory, own_bytes
from trainables.redact import without_credentials
from trainables.results import Report, TrialResult
from trainables.storage import StorageError
from trainables.training.data_parallel import MicroBatchTooLargeError
from trainables.training.micro_batch_fallback import SmallerNextError
from trainables.worker.messages import Advance, Answer, Cause, Finished, Raised, Reading, Start, WorkerFailure

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
RunTrial = Callable[[str, AnyTrialConfig, WorkerContext], Iterator[Report | TrialResult]]


WORN_BYTES = 1 << 30
LEAST_TRIALS = 101


class Runner:
    """Runs trials step by step. A dropped trial needs no cancelling, as it never runs ahead of its commands."""

    def __init__(
        self, run_trial: RunTrial, worker: WorkerContext, passes_on: tuple[type[BaseException], ...] = ()
    ) -> None:
        """`passes_on`: exceptions that are raised instead of counting as the trial's failure, such as Ctrl-C if trials
        run in the user's own process.
        """
        self._run_trial = run_trial
        self._passes_on = passes_on
        self._worker = worker
        self._snapshot = Snapshot.take()
        self._trial: str | None = None
        self._running: Iterator[Report | TrialResult] | None = None
        self._has_finished = False
        self._warnings: list[str] = []
        self._wear = Wear()

    def obey(self, command: Start | Advance) -> Answer:
        """Run up to the trial's next event. Exceptions of a trial are not raised here, except those in `passes_on`."""
        try:
            if isinstance(command, Start):
                self._begin(command)
            with self._listening():
                return self._next()
        except self._passes_on:
            raise
        except BaseException as error:  # a trial may also raise SystemExit; it must not end the worker
            failure = self._failure(error)
            self.let_go()
            return Raised(failure=failure)

    def let_go(self, *, has_arrived: bool = True) -> None:
        """Drop the trial, so that its memory is free before the next one is built.

        A trial that has given its result may clean up now: a next trial shows that the result has arrived. A shutdown
        (`has_arrived=False`) does not show this, as the driver may be waiting for a full storage. Errors here are
        ignored, because no trial is left to report them.
        """
        running, self._running, self._trial = self._running, None, None
        with contextlib.suppress(Exception):
            if running is not None and self._has_finished and has_arrived:
                next(running, None)
            close = getattr(running, "close", None)
            if close is not None:
                close()
        self._has_finished = False
        del running
        gc.collect()

    def close(self) -> None:
        """Drop the trial, and restore the process's state."""
        self.let_go(has_arrived=False)
        self._snapshot.restore()

    def stalled(self, limit_s: float, where: str) -> WorkerFailure:
        """The failure of a trial that has made no progress for this long. `where`: lines of a traceback."""
        last = where.strip().splitlines()[-2:]
        limit = f"{limit_s / 60:.0f} min" if limit_s >= 60 else f"{limit_s:g} s"
        return WorkerFailure(
            rank=self._worker.rank,
            trial=self._trial,
            cause="stalled",
            error=without_credentials(
                f"no step for {limit}, so it was ended; it was at {' '.join(' '.join(last).split())}. If it only needs "
                "more time, raise resources.no_progress_minutes and run with --retry-failed"
            ),
            traceback=without_credentials(where),
        )

    def _begin(self, command: Start) -> None:
        self.let_go()
        self._warnings = []
        self._trial = command.trial  # first, so that a failure to clean the process counts as this trial's failure
        self._snapshot.restore()
        module, is_a_users, _ = command.config.task.name.partition(":")
        if is_a_users:
            self._snapshot.import_module(module)
        self._running = self._run_trial(command.trial, command.config, self._worker)

    def _next(self) -> Answer:
        if self._running is None or self._has_finished:
            raise RuntimeError("told to advance, but no trial is running")
        match next(self._running, None):
            case Report() as report:
                return Reading(report=report)
            case TrialResult() as result:
                self._has_finished = True
                told = (*self._warnings, *result.warnings)
                worn = self._wear.after_trial(own_bytes())
                return Finished(result=result.model_copy(update={"warnings": told}), worn=worn)
            case _:
                raise RuntimeError("the trial ended without a result")

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Collect warnings that belong into the trial's result, wherever they are issued."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", TrialWarning)
            show = warnings.showwarning

            def hear(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
                if issubclass(category, TrialWarning):
                    self._warnings.append(str(message))
                show(message, category, *rest, **more)

            warnings.showwarning = hear
            yield

    def _failure(self, error: BaseException) -> WorkerFailure:
        # Frames hold the trial's tensors: the text is kept, the frames are not.
        text, where = "".join(traceback.format_exception(error)), own_place(error)
        traceback.clear_frames(error.__traceback__)
        return WorkerFailure(
            rank=self._worker.rank,
            trial=self._trial,
            cause=cause_of(error, self._worker.world_size),
            error=without_credentials(" ".join(f"{type(error).__name__}: {error}{where}".split())),
            traceback=without_credentials(text),
        )


class Wear:
    """The growth of a process's memory since its first trial, as torch keeps some memory of each trial for ever.

    A process is worn when it has grown by `WORN_BYTES`, but not before `LEAST_TRIALS` trials, so that a new process,
    which costs some seconds, is started for less than one trial in a hundred.
    """

    def __init__(self) -> None:
        self._trials = self._first_bytes = 0

    def after_trial(self, held_bytes: int) -> bool:
        """Whether the process is worn, given its memory in bytes at the end of one more trial."""
        self._trials += 1
        if self._trials == 1:
            self._first_bytes = held_bytes
        return self._trials >= LEAST_TRIALS and held_bytes - self._first_bytes > WORN_BYTES


def can_go_on(failure: WorkerFailure, worker: WorkerContext) -> bool:
    """Whether the worker can take the next trial: no other worker waits for it, and its process is intact."""
    return worker.world_size == 1 and failure.cause in ("exception", "storage")


def cause_of(error: BaseException, num_workers: int) -> Cause:
    """Classify a trial's exception by its consequences for the worker and for the trial."""
    text = str(error)
    if isinstance(error, SmallerNextError):
        return "too_large"
    if out_of_memory(error) or isinstance(error, MicroBatchTooLargeError):
        return "out_of_memory"
    if num_workers > 1 and (isinstance(error, dist.DistError) or "gloo/transport" in text):
        return "peer"
    if is_storages_fault(error):
        return "storage"
    if isinstance(error, torch.AcceleratorError) or "CUDA error" in text:
        return "device"
    return "exception"


def is_storages_fault(error: BaseException | None) -> bool:
    """Whether the cause of an exception is a failing storage, or a full disk, including the node's own."""
    while error is not None:
        if isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno in NO_ROOM):
            return True
        if isinstance(error, RuntimeError) and "PytorchStreamWriter failed writing" in str(error):
            return True  # torch's form of the error
        error = error.__cause__ or error.__context__
    return False


def load_runner(name: str) -> RunTrial:
    """`package.module:function` -> the function."""
    module, _, function = name.partition(":")
    run_trial: RunTrial = getattr(importlib.import_module(module), function)
    return run_trial
