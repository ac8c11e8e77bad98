"""The decision about a trial whose group of workers was lost, made from the observed facts alone.

    the trial's own exception               the trial ends as failed
    no step for too long                    likewise: it would hang again
    a storage that is full or away          the trial is run again from its checkpoint, once the storage works
    out of memory                           the trial ends as out_of_memory
    the same, but smaller pieces are left   the trial is run again from its checkpoint, with those
    a worker was killed for its memory      a baseline: likewise; any other, or single rows already: out_of_memory
    its node was lost                       the trial is run again from its checkpoint, and waits for room
    a worker died                           the same, but up to `MAX_RETRIES` times
A worker that fails takes its peers with it, in a collective that never completes: their errors are consequences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainables.results import Status
from trainables.worker.messages import EndedTrial, GroupFailure, Paused, WorkerFailure

MAX_RETRIES = 2
MAX_RESTARTS = 50  # restarts of one trial for any reason: more than a micro-batch can be halved
_NODE_WAS_LOST = "its node has died"  # part of Ray's message about an actor
_KILLED_FOR_MEMORY = ("low on memory", "OutOfMemoryError", "memory monitor")


@dataclass(frozen=True)
class Retry:
    """Run the trial again, from its checkpoint."""

    reason: str
    counts: bool  # whether it counts towards MAX_RETRIES; False if the trial did not cause it


@dataclass(frozen=True)
class Divide:
    """Run the trial again, from its checkpoint, with a smaller micro-batch; without a smaller one the trial ends."""

    otherwise: EndedTrial


FailureDecision = Retry | Divide | Paused | EndedTrial


def decide_after_failure(trial: str, loss: GroupFailure, retries: int) -> FailureDecision:
    """The decision on `trial`, which was running when the group was lost and has been retried `retries` times."""
    if loss.lost is not None:
        return Retry(loss.lost, counts=True) if retries < MAX_RETRIES else _failed(loss.lost, loss.lost)
    own = [failure for failure in loss.failures if failure.trial == trial]
    for failure in own:
        if failure.cause == "too_large":
            return Retry(_said(failure), counts=False)  # this terminates: the micro-batch shrinks each time
        if failure.cause == "stalled":
            return _failed(_said(failure), failure.traceback)
        if failure.cause == "storage":
            return Paused(reason=_said(failure))
        if failure.cause == "out_of_memory":
            return EndedTrial(status=Status.OUT_OF_MEMORY, reason=_said(failure), details=failure.traceback)
    for rank, text in loss.unresponsive:
        if any(words in text for words in _KILLED_FOR_MEMORY):
            reason = f"worker {rank} was killed because its node ran out of memory"
            return Divide(EndedTrial(status=Status.OUT_OF_MEMORY, reason=reason, details=text))
    for rank, text in loss.unresponsive:
        if _NODE_WAS_LOST in text:
            return Retry(f"the node of worker {rank} was lost", counts=False)
    if not loss.unresponsive:
        for failure in own:
            if failure.cause != "peer":
                return _failed(_said(failure), failure.traceback)
        if not own:
            return Retry("the group was restarted for a reason outside the trial", counts=False)
    return _again(loss, own, retries)


class Attempts:
    """Counts the attempts at one trial, and decides after each lost attempt how it continues."""

    def __init__(self, trial: str, divide: Callable[[], Retry | Paused | None]) -> None:
        """`divide`: records a smaller micro-batch for the next attempt; returns None if there is none."""
        self._trial = trial
        self._divide = divide
        self._retries = self._restarts = 0

    def node_was_lost(self) -> None:
        """Forget earlier losses, because the trial has made progress since."""
        self._retries = 0

    def after(self, loss: GroupFailure) -> Retry | Paused | EndedTrial:
        decision = decide_after_failure(self._trial, loss, self._retries)
        if isinstance(decision, Divide):
            decision = self._divide() or decision.otherwise
        if isinstance(decision, Retry):
            self._retries += decision.counts
            self._restarts += 1
            if self._restarts > MAX_RESTARTS:
                return _failed(f"restarted without end: {decision.reason}", decision.reason)
        return decision


def _again(loss: GroupFailure, own: list[WorkerFailure], retries: int) -> FailureDecision:
    ranks = [rank for rank, _ in loss.unresponsive]
    what = f"worker {', '.join(map(str, ranks))} died" if ranks else "the workers lost their connections"
    if retries < MAX_RETRIES:
        return Retry(what, counts=True)
    details = "\n".join([*(text for _, text in loss.unresponsive), *(failure.traceback for failure in own)])
    return _failed(f"{what}; that was attempt {retries + 1}, and the last", details)


def _failed(reason: str, details: str) -> EndedTrial:
    return EndedTrial(status=Status.FAILED, reason=reason, details=details)


def _said(failure: WorkerFailure) -> str:
    where = f" (on worker {failure.rank})" if failure.rank else ""
    return f"{failure.error}{where}"
