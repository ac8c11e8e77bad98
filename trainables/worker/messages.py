"""The messages between driver, gang and workers: one union of frozen values, distinguished by `event`.

    gang -> workers     Start -> Advance -> Advance ... -> Start (of the next trial) ... -> Shutdown
    workers -> gang     to each but the last: Reading, Finished or Raised; GroupFailure where they are lost instead
    gang -> driver      Reading, Finished or EndedTrial; NoWorkersYet and Paused while the trial does not advance

They are sent as JSON (`encode`, `decode`). Imports no torch and no Ray.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from trainables.config.base import FrozenResult
from trainables.config.trial import TrialConfig
from trainables.results import Report, Status, TrialResult


class Start(FrozenResult):
    """Drop the previous trial, restore the process's state, run this trial up to its first evaluation."""

    event: Literal["start"] = "start"
    trial: str
    config: TrialConfig


class Advance(FrozenResult):
    """Continue to the next evaluation, or to the end."""

    event: Literal["advance"] = "advance"


class Shutdown(FrozenResult):
    """Leave the loop; no answer."""

    event: Literal["shutdown"] = "shutdown"


# -- workers -> gang --------------------------------------------------------------------------------------------------

Cause = Literal["exception", "storage", "out_of_memory", "too_large", "device", "peer", "stalled"]
"""exception: raised by the trial. storage: the storage or a disk is full or unreachable; the trial is not at fault.
too_large: out of memory, but the trial continues with a smaller micro-batch in a new group. device: the accelerator no
longer answers. peer: another worker failed; a consequence, not the cause. stalled: no progress for too long."""


class WorkerFailure(FrozenResult):
    """The failure of one worker, reported before it is lost."""

    event: Literal["failure"] = "failure"
    rank: int
    trial: str | None  # the trial that it was running, if any
    cause: Cause
    error: str  # type and message, on one line
    traceback: str


class Reading(FrozenResult):
    """The trial's next figures."""

    event: Literal["reading"] = "reading"
    report: Report


class Finished(FrozenResult):
    """The trial's result."""

    event: Literal["finished"] = "finished"
    result: TrialResult
    worn: bool = False  # the worker uses much more memory than at its first trial: to be replaced before the next one


class Raised(FrozenResult):
    """The trial has ended with an exception; the worker waits for the next command."""

    event: Literal["raised"] = "raised"
    failure: WorkerFailure


class GroupFailure(FrozenResult):
    """A group of workers was lost: the failures that they reported, and Ray's observations (rank -> text)."""

    event: Literal["group_failure"] = "group_failure"
    failures: tuple[WorkerFailure, ...] = ()
    observed: tuple[tuple[int, str], ...] = ()
    lost: str | None = None  # why the group does not restart by itself

    @property
    def unresponsive(self) -> tuple[tuple[int, str], ...]:
        """The workers that were lost without a report."""
        reported = {failure.rank for failure in self.failures}
        return tuple((rank, text) for rank, text in self.observed if rank not in reported)


# -- gang -> driver ---------------------------------------------------------------------------------------------------


class EndedTrial(FrozenResult):
    """The end of a trial that could not report its result itself."""

    event: Literal["ended"] = "ended"
    status: Status
    reason: str
    details: str


class NoWorkersYet(FrozenResult):
    """The trial has no workers yet."""

    event: Literal["waiting"] = "waiting"
    reason: str  # `for 2 x (1 CPU): a node is gone`
    node_is_lost: bool = False  # False: other trials hold the resources, which will be free again


class Paused(FrozenResult):
    """The storage failed; the trial runs again from its checkpoint after a while."""

    event: Literal["paused"] = "paused"
    reason: str


Command = Start | Advance | Shutdown
Answer = Reading | Finished | Raised
ToDriver = Reading | Finished | EndedTrial | NoWorkersYet | Paused
Message = Command | Answer | WorkerFailure | GroupFailure | EndedTrial | NoWorkersYet | Paused
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="event")])


def encode(message: Message) -> str:
    return message.model_dump_json()


def decode(text: str) -> Message:
    """Raises pydantic.ValidationError for an invalid message."""
    return _MESSAGE.validate_json(text)
