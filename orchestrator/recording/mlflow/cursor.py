"""The cursor: how much of the journal has reached MLflow. It is stored beside the journal, and advances after success.

    <storage>/sweeps/<name>/mlflow.jsonl      the last line about a trial is the valid one

After a crash between a request and its line, the request is sent again. That changes nothing, as all times are fixed.
For the same reason, an unreadable line is skipped: its records are sent again.
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
    """Where the runs are. A new target has none of the records that were sent to the previous one."""

    about: Literal["target"] = "target"
    recording: str  # a random name of this sweep's recording, chosen once
    tracking_uri: str  # without credentials, as everyone with access to the results can read it
    experiment: str  # MLflow's id


class Sent(FrozenConfig):
    """The records of one trial that its run already has."""

    about: Literal["trial"] = "trial"
    trial: str
    run: str  # MLflow's id
    started_ms: int | None = None  # the journal's time of the start that was sent; None if unknown
    configured: bool = False  # whether parameters and first metrics were sent
    reports: int = 0  # number of the journal's reports that were sent
    ended_ms: int | None = None  # time of the end that was sent, with its artifacts
    recording: str | None = None  # as in the target, in case its line is unreadable; None in earlier versions

    def is_superseded(self, log: TrialLog) -> bool:
        """Whether the trial runs again, or has run again with another end."""
        if self.started_ms not in (None, log.started.time_ms):
            return True
        return self.ended_ms is not None and (log.ended is None or log.ended.time_ms != self.ended_ms)


class Page(FrozenConfig):
    """The note and the recommendation that were sent to MLflow at the end of a run of the sweep."""

    about: Literal["page"] = "page"
    note: str
    recommended: str | None  # the trial whose run is tagged as recommended
    recording: str | None = None


def records_unsent(log: TrialLog, sent: Sent | None) -> int:
    """The number of a trial's records that MLflow lacks."""
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
        """Set the target of all further requests, and forget what was sent elsewhere."""
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
        """Forget the trial's run, which no longer exists. The next line about the trial records this."""
        self.sent.pop(trial, None)

    def forget_all(self) -> None:
        """Forget everything sent, as the experiment does not exist at the target. The next `aim` records this."""
        self.target, self.sent, self.page = None, {}, None

    def _save(self, line: Target | Sent | Page) -> None:
        self._storage.append_lines(self._name, [line.model_dump_json()])
        self._take(line)

    def _take(self, line: Target | Sent | Page) -> None:
        self.recording = line.recording or self.recording
        match line:
            case Target():  # an earlier version wrote it with its password
                where = without_credentials(line.tracking_uri)
                self.target, self.sent, self.page = line.model_copy(update={"tracking_uri": where}), {}, None
            case Sent():
                self.sent[line.trial] = line
            case Page():
                self.page = line
