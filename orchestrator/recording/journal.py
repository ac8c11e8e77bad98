"""The journal of a sweep: its events in order, an append-only log of JSON lines on the sweep's storage.

    <storage>/sweeps/<name>/journal.jsonl      started, reported, ended; each with the time at which it was written
    <storage>/sweeps/<name>/lock               held by the one driver that may write the journal; in a bucket: `lease`

The journal is the truth that MLflow is filled from. A record's time is frozen when it is first written, so sending it
again is the same sending. A driver that was killed and started again may be told things a second time: the journal
keeps the first report of every (trial, step), and of a trial's end only what is new. A start after an end says that the
trial is run again; one after a start, that another driver goes on with it.
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
from dataclasses import dataclass, field
from typing import IO, Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.adaptive.resolve import Outlook
from orchestrator.recording.lease import Lease, SweepIsRunningError, own_name
from orchestrator.sweep.plan import Stage, Trial
from trainables.config.base import FrozenResult
from trainables.config.trial import TrialConfig
from trainables.errors import ParetuneError
from trainables.results import Report, Status, TrialResult
from trainables.seal import DamagedFileError, sealed_line, unsealed_line
from trainables.storage import Storage, sweep_file


class JournalError(ParetuneError, RuntimeError):
    """A line of the journal cannot be read."""


class Started(FrozenResult):
    event: Literal["started"] = "started"
    time_ms: int  # since 1970, UTC
    trial: str
    config: TrialConfig
    learning_rate_source: str | None = None  # None: the trial came from another sweep
    stage: Stage = Stage.GRID


class Reported(FrozenResult):
    event: Literal["reported"] = "reported"
    time_ms: int
    trial: str
    report: Report


class Ended(FrozenResult):
    """`result` is kept without its history: the reports are in the journal already."""

    event: Literal["ended"] = "ended"
    time_ms: int
    trial: str
    result: TrialResult


Record = Started | Reported | Ended
_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="event")])
_HELD = (errno.EWOULDBLOCK, errno.EACCES)
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@dataclass
class TrialLog:
    """Everything the journal knows of one trial."""

    started: Started
    reports: list[Reported] = field(default_factory=list)  # in the order of arrival, each step once
    ended: Ended | None = None
    steps: set[int] = field(default_factory=set)  # of the reports
    last_started_ms: int = 0  # by the driver that went on with it last

    def __post_init__(self) -> None:
        self.last_started_ms = self.started.time_ms

    @property
    def has_failed(self) -> bool:
        return self.ended is not None and self.ended.result.status is Status.FAILED

    @property
    def start_ms(self) -> int:
        return min([self.started.time_ms, *(reported.time_ms for reported in self.reports)])

    @property
    def last_ms(self) -> int:
        """When the trial was last told of."""
        end = [] if self.ended is None else [self.ended.time_ms]
        return max([self.last_started_ms, *(reported.time_ms for reported in self.reports), *end])

    def result(self) -> TrialResult | None:
        """How the trial ended, with its whole history; None while it has not."""
        if self.ended is None:
            return None
        history = sorted((reported.report for reported in self.reports), key=lambda report: report.step)
        return self.ended.result.model_copy(update={"history": tuple(history)})


@dataclass
class JournalView:
    """The journal's records, gathered by trial in the order in which the trials started."""

    trials: dict[str, TrialLog] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Raises KeyError for a report or an end without a start."""
        match record:
            case Started():
                self._start(record)
            case Reported():
                log = self.trials[record.trial]
                if record.report.step not in log.steps:
                    log.steps.add(record.report.step)
                    log.reports.append(record)
            case Ended():
                self.trials[record.trial].ended = record

    def _start(self, record: Started) -> None:
        """After an end the trial is run again: one that failed from its checkpoint, any other from the beginning."""
        log = self.trials.get(record.trial)
        if log is None or (log.ended is not None and not log.has_failed):
            self.trials[record.trial] = TrialLog(record)
        else:
            log.ended = None
            log.last_started_ms = record.time_ms


def read(storage: Storage, sweep: str) -> JournalView:
    """The journal of a sweep, also while it is running; empty if there is none. Raises JournalError.

    Of a local one, a last line that a crash has spoiled is left out.
    """
    return _read(storage, sweep)[0]


def _read(storage: Storage, sweep: str) -> tuple[JournalView, bool]:
    """The journal, and whether its last line is spoiled and left out."""
    view = JournalView()
    name = sweep_file(sweep, "journal.jsonl")
    lines = storage.read_lines(name)
    for number, line in enumerate(lines, start=1):
        try:
            view.add(_RECORD.validate_json(unsealed_line(line, name)))
        except (ValidationError, KeyError, DamagedFileError) as error:
            if storage.is_local and number == len(lines) and not _is_json(line):
                return view, True
            problem = _problem(error)
            file = storage.path(name) if storage.is_local else f"{storage.path(name)}.part* (one after the other)"
            raise JournalError(
                f"{file}: line {number} is not a record of a journal: {problem}. Delete this line, or move the whole "
                "file away: trials that have ended are not run again"
            ) from None
    return view, False


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _problem(error: ValidationError | KeyError | DamagedFileError) -> str:
    match error:
        case DamagedFileError():
            return error.what
        case ValidationError():
            return error.errors()[0]["msg"]
        case _:
            return f"trial {error} never started"


class Journal:
    """The writing end. It observes a sweep: each event is on the storage when the call returns."""

    def __init__(self, storage: Storage, sweep: str) -> None:
        """Loads what is there. Raises SweepIsRunningError if another process writes it, JournalError if it is broken.

        In a folder the kernel keeps the lock, in a bucket it is a lease. Where files cannot be locked, nothing keeps
        two drivers of one sweep apart. Then some trials run twice, and the journal has what both were told.
        """
        self.storage, self.sweep = storage, sweep
        self._lock = _lock(storage, sweep) if storage.is_local else Lease(storage, sweep)
        try:
            self._view, spoiled = _read(storage, sweep)
            if spoiled:
                storage.cut_last_line(sweep_file(sweep, "journal.jsonl"))
        except BaseException:
            self._unlock()
            raise
        self._listeners: list[Callable[[str], None]] = []
        self._writing = threading.Lock()
        self._started: set[str] = set()  # by this driver, and not ended since

    @property
    def trials(self) -> dict[str, TrialLog]:
        return self._view.trials

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """`listener` is called with a trial's id whenever the journal was told of it; it must return at once."""
        self._listeners.append(listener)

    def readings_of_open_trials(self) -> dict[str, list[Report]]:
        """What those told that have not ended, or have failed: run again, they go on from their checkpoint."""
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
        """Raises KeyError unless the trial was started: a report does not say what was run."""
        known = report.step in self.trials[trial_id].steps
        self._append(trial_id, [] if known else [Reported(time_ms=_now_ms(), trial=trial_id, report=report)])

    def waits(self, trial_id: str, reason: str) -> None:
        """Nothing: it says nothing of the trial."""

    def planned(self, outlook: Outlook) -> None:
        """Nothing: the plan has a file of its own."""

    def ended(self, result: TrialResult) -> None:
        """Also records what was never told, as when another sweep has run the trial: its start and its history."""
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
    """The missing reports, dated back from the end by the training time between; never before one already told."""
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
    """Equal for equal results; `==` would not do, since a NaN differs from itself."""
    return json.dumps(result.model_dump(mode="json"), sort_keys=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _lock(storage: Storage, sweep: str) -> IO[str] | None:
    """Take the sweep's lock; the kernel gives it back when this process ends, however it ends. None: there are none."""
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
        warning = f"{storage.label} cannot lock files ({error.strerror}): nothing keeps two runs of one sweep apart"
        print(f"paretune: {warning}; have only one at a time", file=sys.stderr)
        return None
    file.truncate(0)
    file.write(own_name())
    file.flush()
    return file
