"""How much of the journal has reached MLflow: kept beside the journal, moved on only after a sending has succeeded.

    <storage>/sweeps/<name>/mlflow.jsonl      the last line about a trial is the valid one

A crash between a sending and its line means that it is sent again; that changes nothing, as its times are frozen. For
the same reason a line that cannot be read is passed over: what it told is sent again.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.recording.journal_view import TrialLog
from trainables.config.base import FrozenConfig
from trainables.redact import without_credentials
from trainables.storage import Storage, sweep_file


class Target(FrozenConfig):
    """Where the runs are. Another target knows nothing of what was sent to the last one."""

    about: Literal["target"] = "target"
    recording: str  # a random name of this sweep's recording, given once
    tracking_uri: str  # without credentials: everyone who sees the results can read it
    experiment: str  # MLflow's id


class Sent(FrozenConfig):
    """How far one trial's run has come."""

    about: Literal["trial"] = "trial"
    trial: str
    run: str  # MLflow's id
    started_ms: int | None = None  # time of the start, in the journal, of what was sent; None: not known
    configured: bool = False  # parameters and first metrics
    reports: int = 0  # the first so many of the journal
    ended_ms: int | None = None  # time of the end that was sent, with its artifacts
    recording: str | None = None  # as in the target, whose line may become unreadable; None: of an earlier version

    def is_superseded(self, log: TrialLog) -> bool:
        """The trial is run again, or was and ended otherwise."""
        if self.started_ms not in (None, log.started.time_ms):
            return True
        return self.ended_ms is not None and (log.ended is None or log.ended.time_ms != self.ended_ms)


class Page(FrozenConfig):
    """The note and the recommended mark that MLflow was sent at the end of a run of the sweep."""

    about: Literal["page"] = "page"
    note: str
    recommended: str | None  # the trial whose run has the mark
    recording: str | None = None


def records_unsent(log: TrialLog, sent: Sent | None) -> int:
    """How many of a trial's records MLflow lacks."""
    if sent is None or sent.is_superseded(log):
        return 1 + len(log.reports) + (log.ended is not None)
    ended = log.ended is not None and sent.ended_ms is None
    return (not sent.configured) + len(log.reports) - sent.reports + ended


_LINE: TypeAdapter[Target | Sent | Page] = TypeAdapter(Annotated[Target | Sent | Page, Field(discriminator="about")])


class Cursor:
    def __init__(self, storage: Storage, sweep: str) -> None:
        self._storage, self._name = storage, sweep_file(sweep, "mlflow.jsonl")
        self.target: Target | None = None
        self.sent: dict[str, Sent] = {}
        self.page: Page | None = None
        self.recording = uuid.uuid4().hex[:12]
        for line in storage.read_lines(self._name):
            with contextlib.suppress(ValidationError):
                self._take(_LINE.validate_json(line))

    def aim(self, tracking_uri: str, experiment: str) -> None:
        """From now on all is sent there; what was sent elsewhere is forgotten."""
        where = without_credentials(tracking_uri)
        target = Target(recording=self.recording, tracking_uri=where, experiment=experiment)
        if target != self.target:
            self._save(target)

    def is_aimed_at(self, tracking_uri: str) -> bool:
        return self.target is not None and self.target.tracking_uri == without_credentials(tracking_uri)

    def move(self, sent: Sent) -> Sent:
        self._save(sent := sent.model_copy(update={"recording": self.recording}))
        return sent

    def conclude(self, page: Page) -> None:
        self._save(page.model_copy(update={"recording": self.recording}))

    def has_concluded(self, page: Page) -> bool:
        return self.page == page.model_copy(update={"recording": self.recording})

    def forget(self, trial: str) -> None:
        """The trial's run is gone. Not written down: the next line about the trial says it."""
        self.sent.pop(trial, None)

    def forget_all(self) -> None:
        """The experiment is gone, or never was where all is sent from now on. Written down by the next `aim`."""
        self.target, self.sent, self.page = None, {}, None

    def _save(self, line: Target | Sent | Page) -> None:
        self._storage.append_lines(self._name, [line.model_dump_json()])
        self._take(line)

    def _take(self, line: Target | Sent | Page) -> None:
        self.recording = line.recording or self.recording
        match line:
            case Target():  # written with its password, by an earlier version
                where = without_credentials(line.tracking_uri)
                self.target, self.sent, self.page = line.model_copy(update={"tracking_uri": where}), {}, None
            case Sent():
                self.sent[line.trial] = line
            case Page():
                self.page = line
