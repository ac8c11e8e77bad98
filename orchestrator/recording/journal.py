"""The journal of a sweep: its events in order, an append-only log of JSON lines on the sweep's storage.

    <storage>/sweeps/<name>/journal.jsonl      started, reported, ended; each with the time at which it was written
    <storage>/sweeps/<name>/lock               held by the one driver that may write the journal; in a bucket: `lease`

MLflow is filled from the journal. A record's time is fixed when it is first written, so sending it again has no further
effect. A driver that was killed and restarted may see events a second time: the journal keeps the first report of every
(trial, step), and for a trial's end only the new parts. A start after an end means that the trial runs again; a start
after a start means that another driver continues it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import IO

from orchestrator.adaptive.resolve import Outlook
from orchestrator.recording.journal_view import Ended, Record, Reported, Started, TrialLog, read_whole
from orchestrator.recording.lease import Lease, SweepIsRunningError, own_name
from orchestrator.sweep.plan import Trial
from trainables.results import Report, TrialResult
from trainables.seal import sealed_line
from trainables.storage import Storage, sweep_file

_HELD = (errno.EWOULDBLOCK, errno.EACCES)
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


class Journal:
    """Writes the journal. It observes a sweep: each event is on the storage when the call returns."""

    def __init__(self, storage: Storage, sweep: str) -> None:
        """Load the journal. Raises SweepIsRunningError if another process is writing it, JournalError if it is damaged.

        In a folder, the lock is a kernel lock; in a bucket, it is a lease. If files cannot be locked, nothing prevents
        two drivers of one sweep. Then some trials run twice, and the journal has the events of both.
        """
        self.storage, self.sweep = storage, sweep
        self._lock = _lock(storage, sweep) if storage.is_local else Lease(storage, sweep)
        try:
            self._view, spoiled = read_whole(storage, sweep)
            if spoiled:
                storage.cut_last_line(sweep_file(sweep, "journal.jsonl"))
        except BaseException:
            self._unlock()
            raise
        self._listeners: list[Callable[[str], None]] = []
        self._writing = threading.Lock()
        self._started: set[str] = set()  # trials that this driver has started and that have not ended since

    @property
    def trials(self) -> dict[str, TrialLog]:
        return self._view.trials

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """`listener` is called with a trial's id after each of its events; it must return at once."""
        self._listeners.append(listener)

    def readings_of_open_trials(self) -> dict[str, list[Report]]:
        """The reports of trials that have not ended, or have failed; if run again, these resume from checkpoints."""
        logs = self.trials.items()
        open_trials = {trial: log for trial, log in logs if log.ended is None or log.has_failed}
        return {trial: [reported.report for reported in log.reports] for trial, log in open_trials.items()}

    def started(self, trial: Trial) -> None:
        record = Started(
            time_ms=_now_ms(),
            trial=trial.id,
            config=trial.config,
            learning_rate_source=trial.learning_rate_source,
            stage=trial.stage,
        )
        is_told = trial.id in self._started
        self._started.add(trial.id)
        self._append(trial.id, [] if is_told else [record])

    def report(self, trial_id: str, report: Report) -> None:
        """Raises KeyError unless the trial was started, as a report does not contain the configuration."""
        known = report.step in self.trials[trial_id].steps
        self._append(trial_id, [] if known else [Reported(time_ms=_now_ms(), trial=trial_id, report=report)])

    def waits(self, trial_id: str, reason: str) -> None:
        """Not recorded, as it does not affect the trial."""

    def planned(self, outlook: Outlook) -> None:
        """Not recorded, as the plan has its own file."""

    def ended(self, result: TrialResult) -> None:
        """Record the end, and also a start and a history that are missing because another sweep ran the trial."""
        end = Ended(time_ms=_now_ms(), trial=result.id, result=result.model_copy(update={"history": ()}))
        records: list[Record] = []
        log = self.trials.get(result.id)
        if log is None:
            start = Started(time_ms=end.time_ms, trial=result.id, config=result.config)
            log = TrialLog(start)
            records.append(start)
        records += _untold(log, result.history, end.time_ms)
        if log.ended is None or _canonical(log.ended.result) != _canonical(end.result):
            records.append(end)
        self._started.discard(result.id)
        self._append(result.id, records)

    def close(self) -> None:
        self._unlock()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, trial: str, records: list[Record]) -> None:
        if isinstance(self._lock, Lease):
            self._lock.check()
        with self._writing:
            lines = [sealed_line(record.model_dump_json()) for record in records]
            self.storage.append_lines(sweep_file(self.sweep, "journal.jsonl"), lines)
            for record in records:
                self._view.add(record)
        for listener in self._listeners:
            listener(trial)

    def _unlock(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None


def _untold(log: TrialLog, history: Iterable[Report], end_ms: int) -> list[Reported]:
    """The missing reports, dated back from the end by their training times, but not before recorded reports."""
    history = tuple(history)
    missing = [report for report in history if report.step not in log.steps]
    last_told_ms = log.reports[-1].time_ms if log.reports else 0
    return [
        Reported(
            time_ms=max(last_told_ms, end_ms - round(1000 * (history[-1].seconds - report.seconds))),
            trial=log.started.trial,
            report=report,
        )
        for report in missing
    ]


def _canonical(result: TrialResult) -> str:
    """A form that is equal for equal results; `==` does not work, since NaN differs from itself."""
    return json.dumps(result.model_dump(mode="json"), sort_keys=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _lock(storage: Storage, sweep: str) -> IO[str] | None:
    """Take the sweep's lock; the kernel releases it when this process ends. None if locks are not supported."""
    path = storage.path(sweep_file(sweep, "lock"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - open as long as the journal
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        with file:
            file.seek(0)
            holder = file.read().strip() or "another process"
        if error.errno in _HELD:
            raise SweepIsRunningError(sweep, storage, holder) from None
        if error.errno not in _NO_LOCKS:
            raise
        warning = f"{storage.label} cannot lock files ({error.strerror}): nothing prevents two runs of one sweep"
        print(f"paretune: {warning}; make sure that only one runs at a time", file=sys.stderr)
        return None
    file.truncate(0)
    file.write(own_name())
    file.flush()
    return file
