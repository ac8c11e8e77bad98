"""The records of a sweep's journal, gathered by trial. The journal can be read while it is written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.sweep.plan import Stage
from trainables.config.base import FrozenResult
from trainables.config.trial import TrialConfig
from trainables.errors import ParetuneError
from trainables.results import Report, Status, TrialResult
from trainables.seal import DamagedFileError, unsealed_line
from trainables.storage import Storage, sweep_file


class JournalError(ParetuneError, RuntimeError):
    """A line of the journal cannot be read."""


class Started(FrozenResult):
    event: Literal["started"] = "started"
    time_ms: int  # since 1970, UTC
    trial: str
    config: TrialConfig
    learning_rate_source: str | None = None  # None if the trial came from another sweep
    stage: Stage = Stage.GRID


class Reported(FrozenResult):
    event: Literal["reported"] = "reported"
    time_ms: int
    trial: str
    report: Report


class Ended(FrozenResult):
    """`result` is stored without its history, as the journal already has the reports."""

    event: Literal["ended"] = "ended"
    time_ms: int
    trial: str
    result: TrialResult


Record = Started | Reported | Ended
_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="event")])


@dataclass
class TrialLog:
    """All records of the journal about one trial."""

    started: Started
    reports: list[Reported] = field(default_factory=list)  # in the order of arrival, each step once
    ended: Ended | None = None
    steps: set[int] = field(default_factory=set)  # steps of the reports
    last_started_ms: int = 0  # time of the latest start, by the latest driver

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
        """The time of the trial's last record."""
        end = [] if self.ended is None else [self.ended.time_ms]
        return max([self.last_started_ms, *(reported.time_ms for reported in self.reports), *end])

    def result(self) -> TrialResult | None:
        """The trial's result with its whole history; None while it has not ended."""
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
        """A start after an end: a failed trial continues from its checkpoint, any other begins again."""
        log = self.trials.get(record.trial)
        if log is None or (log.ended is not None and not log.has_failed):
            self.trials[record.trial] = TrialLog(record)
        else:
            log.ended = None
            log.last_started_ms = record.time_ms


def read(storage: Storage, sweep: str) -> JournalView:
    """The journal of a sweep, which may be running; empty if there is none. Raises JournalError.

    In a local journal, a last line that a crash has damaged is left out.
    """
    return read_whole(storage, sweep)[0]


def read_whole(storage: Storage, sweep: str) -> tuple[JournalView, bool]:
    """The journal, and whether its last line is damaged and left out."""
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
                "file away: ended trials do not run again"
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
