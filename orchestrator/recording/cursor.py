"""What of a sweep has reached MLflow, kept beside its journal and moved on only after a sending has succeeded.

    <storage>/sweeps/<name>/mlflow.jsonl      the last line about a trial is the valid one

A crash between a sending and its line means that it is sent again; that changes nothing, as its times are frozen.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from trainables.credentials import without_credentials
from trainables.frozen import Frozen
from trainables.storage import Storage, sweep_file


class Target(Frozen):
    """Where the runs are. Another target knows nothing of what was sent to the last one."""

    about: Literal["target"] = "target"
    recording: str  # a random name of this sweep's recording, given once
    tracking_uri: str  # without credentials: everyone who sees the results can read it
    experiment: str  # MLflow's id


class Sent(Frozen):
    """How far one trial's run has come."""

    about: Literal["trial"] = "trial"
    trial: str
    run: str  # MLflow's id
    started_ms: int | None = None  # time of the start, in the journal, of what was sent; None: not known
    configured: bool = False  # parameters and first metrics
    reports: int = 0  # the first so many of the journal
    ended_ms: int | None = None  # time of the end that was sent, with its artifacts


_LINE: TypeAdapter[Target | Sent] = TypeAdapter(Annotated[Target | Sent, Field(discriminator="about")])


class Cursor:
    def __init__(self, storage: Storage, sweep: str) -> None:
        self._storage, self._name = storage, sweep_file(sweep, "mlflow.jsonl")
        self.target: Target | None = None
        self.sent: dict[str, Sent] = {}
        for line in storage.read_lines(self._name):
            self._take(_LINE.validate_json(line))
        self.recording = self.target.recording if self.target else uuid.uuid4().hex[:12]

    def aim(self, tracking_uri: str, experiment: str) -> None:
        """From now on all is sent there; what was sent elsewhere is forgotten."""
        where = without_credentials(tracking_uri)
        target = Target(recording=self.recording, tracking_uri=where, experiment=experiment)
        if target != self.target:
            self._save(target)

    def is_aimed_at(self, tracking_uri: str) -> bool:
        return self.target is not None and self.target.tracking_uri == without_credentials(tracking_uri)

    def move(self, sent: Sent) -> Sent:
        self._save(sent)
        return sent

    def forget(self, trial: str) -> None:
        """The trial's run is gone. Not written down: the next line about the trial says it."""
        self.sent.pop(trial, None)

    def _save(self, line: Target | Sent) -> None:
        self._storage.append_lines(self._name, [line.model_dump_json()])
        self._take(line)

    def _take(self, line: Target | Sent) -> None:
        match line:
            case Target():  # written with its password, by an earlier version
                where = without_credentials(line.tracking_uri)
                self.target, self.sent = line.model_copy(update={"tracking_uri": where}), {}
            case Sent():
                self.sent[line.trial] = line
