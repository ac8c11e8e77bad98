"""What a gang's driver says to its workers, and what they say back. Plain values, as JSON; imports no torch and no Ray.

    Start -> Advance -> Advance ... -> Start (of the next trial) ... -> Shutdown
Each but the last is answered by every worker: with a reading, with the trial's result, or with what went wrong.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from trainables.config.base import FrozenResult
from trainables.config.trial import TrialConfig
from trainables.results import Report, TrialResult


class Start(FrozenResult):
    """Let go of the trial before, put the process back in order, run this trial up to its first reading."""

    say: Literal["start"] = "start"
    trial: str
    config: TrialConfig


class Advance(FrozenResult):
    """Run on up to the next reading, or to the end."""

    say: Literal["advance"] = "advance"


class Shutdown(FrozenResult):
    """Leave the loop; no answer."""

    say: Literal["shutdown"] = "shutdown"


Cause = Literal["exception", "storage", "out_of_memory", "too_large", "device", "peer", "stalled"]
"""exception: the trial's own. storage: it or a disk is full or away, and the trial had no part in it. too_large: out of
memory, but the trial goes on with a smaller micro-batch in a new group. device: the accelerator no longer answers.
peer: another worker broke off, a consequence and not a cause. stalled: nothing was done for too long."""


class WorkerFailure(FrozenResult):
    """What one worker ran into, told before it is lost."""

    rank: int
    trial: str | None  # which trial it was running; None: none
    cause: Cause
    error: str  # type and message, on one line
    traceback: str


class Reading(FrozenResult):
    say: Literal["reading"] = "reading"
    report: Report


class Finished(FrozenResult):
    say: Literal["finished"] = "finished"
    result: TrialResult
    worn: bool = False  # the worker holds much more memory than at its first trial: to be renewed before the next one


class Raised(FrozenResult):
    """The trial is over, the worker is not: it waits for the next command."""

    say: Literal["raised"] = "raised"
    failure: WorkerFailure


Command = Start | Advance | Shutdown
Answer = Reading | Finished | Raised
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="say")])
ANSWER: TypeAdapter[Answer] = TypeAdapter(Annotated[Answer, Field(discriminator="say")])
