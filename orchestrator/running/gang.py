"""A gang: a Tune trainable that owns one group of workers, which runs one trial after another.

Tune reuses the trainable (`reuse_actors=True`), so a trial costs a few messages instead of the start of a group. A new
group starts only if the next trial needs workers of another shape, if a worker was lost, or, between two trials, if the
workers' memory has grown much over a hundred or more trials. An idle gang releases the resources of its workers, so
that a larger group of another gang can start.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

from ray import tune

from orchestrator.running.failures import Attempts, Retry
from orchestrator.running.group import Group, GroupGoneError
from orchestrator.running.patience import TRY_AGAIN_S
from trainables.config.base import FrozenResult
from trainables.config.trial import BaselineConfig, TrialConfig
from trainables.storage import StorageError, checkpoint_file
from trainables.training.micro_batch_record import division_of, next_division, write_down
from trainables.worker.messages import (
    Answer,
    EndedTrial,
    Finished,
    GroupFailure,
    NoWorkersYet,
    Paused,
    Raised,
    Reading,
    Start,
    ToDriver,
    encode,
)
from trainables.worker.ray_worker import WorkerGroupConfig

IDLE_S = 3.0  # seconds after a trial's end
SILENT_S = 60.0  # seconds without a call within a trial: it was stopped, and the gang has no other one


class Assignment(FrozenResult):
    """The current work of a gang: one trial, and the workers that it needs."""

    trial: str
    config: TrialConfig
    group: WorkerGroupConfig


def divide(job: Assignment) -> Retry | Paused | None:
    """Record a smaller micro-batch for the next attempt; None if the trial trains nothing or has micro-batch 1."""
    if not isinstance(job.config, BaselineConfig):
        return None
    storage, checkpoint = job.group.open_storage(), checkpoint_file(job.trial)
    try:
        smaller = next_division(division_of(job.config.training, storage, checkpoint))
        if smaller is None:
            return None
        write_down(smaller, storage, checkpoint)
    except StorageError as error:
        return Paused(reason=str(error))
    return Retry(f"the next attempt takes micro_batch_size {smaller.micro_batch_size}", counts=False)


class Gang(tune.Trainable):
    """One step is one evaluation, or the message that there are no workers yet.

    Every failure of a trial is a result; for Tune, only a lost gang is an error.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._group: Group | None = None
        self._is_worn = False
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        with self._lock:
            self._take(new_config)
        return True

    def step(self) -> dict[str, Any]:
        with self._lock:
            self._stop_timer()
            message = self._next()
            is_over = isinstance(message, Finished | EndedTrial)
            self._start_timer(IDLE_S if is_over else SILENT_S)
        return {"message": encode(message), "done": is_over}

    def cleanup(self) -> None:
        with self._lock:
            self._stop_timer()
            self._close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: trials keep their own checkpoints on the sweep's storage."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: see save_checkpoint."""

    def _take(self, config: dict[str, Any]) -> None:
        """Begin a trial; its workers are starting when this returns."""
        self._stop_timer()
        self._job = Assignment.model_validate_json(config["assignment"])
        self._attempts = Attempts(self._job.trial, partial(divide, self._job))
        self._is_started = self._is_paused = False
        if self._is_worn:  # only now: a next trial shows that the last result has arrived
            self._close()
        self._ensure_group()
        self._start_timer(SILENT_S)

    def _next(self) -> ToDriver:
        """The trial's next event, after as many restarts as are allowed."""
        if self._is_paused:
            time.sleep(TRY_AGAIN_S)  # the driver decides how often
            self._is_paused = False
        while True:
            match self._ask():
                case Reading() as reading:
                    return reading
                case Finished() as finished:
                    self._is_worn = finished.worn
                    return finished
                case NoWorkersYet() as waiting:
                    self._is_started = False
                    if waiting.node_is_lost:
                        self._attempts.node_was_lost()
                    return waiting
                case Raised(failure=failure):
                    decision = self._attempts.after(GroupFailure(failures=(failure,)))
                case GroupFailure() as loss:
                    decision = self._attempts.after(loss)
            self._is_started = False
            if not isinstance(decision, Retry):
                self._is_paused = isinstance(decision, Paused)
                return decision

    def _ask(self) -> Answer | GroupFailure | NoWorkersYet:
        """Send one command to the workers. A lost group counts as a loss, and the next command starts a new group."""
        group = self._ensure_group()
        try:
            if self._is_started:
                return group.advance()
            self._is_started = True
            return group.start(Start(trial=self._job.trial, config=self._job.config))
        except GroupGoneError as error:
            self._close()
            return GroupFailure(lost=str(error))

    def _ensure_group(self) -> Group:
        if self._group is not None and self._group.config != self._job.group:
            self._close()
        if self._group is None:
            self._is_started = False
            self._group = Group(self._job.group)
        return self._group

    def _close(self) -> None:
        group, self._group, self._is_worn = self._group, None, False
        if group is not None:
            group.close()

    def _start_timer(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._release)
        self._timer.daemon = True
        self._timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release(self) -> None:
        """Runs in the timer's thread; an outdated timer does nothing."""
        with self._lock:
            if self._timer is threading.current_thread():
                self._timer = None
                self._close()
