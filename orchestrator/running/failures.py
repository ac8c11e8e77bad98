"""What a lost group of workers means for the trial it was running: a decision, made from what was seen, and no more.

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

from dataclasses import dataclass

from trainables.results import Status
from trainables.worker.messages import WorkerFailure

MAX_RETRIES = 2
_NODE_WAS_LOST = "its node has died"  # Ray's words of an actor
_KILLED_FOR_MEMORY = ("low on memory", "OutOfMemoryError", "memory monitor")


@dataclass(frozen=True)
class GroupFailure:
    """A group that broke off: what its workers said of it, and what Ray saw of each (rank -> text)."""

    failures: tuple[WorkerFailure, ...] = ()
    seen: tuple[tuple[int, str], ...] = ()
    gone: str | None = None  # why the group does not come back by itself

    @property
    def silent(self) -> tuple[tuple[int, str], ...]:
        """The workers that were lost without a word."""
        told = {failure.rank for failure in self.failures}
        return tuple((rank, text) for rank, text in self.seen if rank not in told)


@dataclass(frozen=True)
class Retry:
    """Run the trial again, from its checkpoint."""

    reason: str
    counts: bool  # against MAX_RETRIES; not, if the trial had no part in it


@dataclass(frozen=True)
class Pause:
    """Run the trial again, from its checkpoint, after a while: it had no part in what failed, which is the storage."""

    reason: str


@dataclass(frozen=True)
class End:
    """The trial is over."""

    status: Status
    reason: str
    details: str


@dataclass(frozen=True)
class Divide:
    """Run the trial again, from its checkpoint, with a smaller micro-batch; if there is none, it is over."""

    otherwise: End


FailureDecision = Retry | Divide | Pause | End


def decide_after_failure(trial: str, loss: GroupFailure, retries: int) -> FailureDecision:
    """What becomes of `trial`, which was running when the group was lost and has been retried `retries` times."""
    if loss.gone is not None:
        return Retry(loss.gone, counts=True) if retries < MAX_RETRIES else End(Status.FAILED, loss.gone, loss.gone)
    own = [failure for failure in loss.failures if failure.trial == trial]
    for failure in own:
        if failure.cause == "too_large":
            return Retry(_said(failure), counts=False)  # it ends: each time the micro-batch is smaller
        if failure.cause == "stalled":
            return End(Status.FAILED, _said(failure), failure.traceback)
        if failure.cause == "storage":
            return Pause(_said(failure))
        if failure.cause == "out_of_memory":
            return End(Status.OUT_OF_MEMORY, _said(failure), failure.traceback)
    for rank, text in loss.silent:
        if any(words in text for words in _KILLED_FOR_MEMORY):
            reason = f"worker {rank} was killed because its node ran out of memory"
            return Divide(End(Status.OUT_OF_MEMORY, reason, text))
    for rank, text in loss.silent:
        if _NODE_WAS_LOST in text:
            return Retry(f"the node of worker {rank} was lost", counts=False)
    if not loss.silent:
        for failure in own:
            if failure.cause != "peer":
                return End(Status.FAILED, _said(failure), failure.traceback)
        if not own:
            return Retry("the group was restarted for a reason that is not the trial's", counts=False)
    return _again(loss, own, retries)


def _again(loss: GroupFailure, own: list[WorkerFailure], retries: int) -> FailureDecision:
    ranks = [rank for rank, _ in loss.silent]
    what = f"worker {', '.join(map(str, ranks))} died" if ranks else "the workers lost touch with each other"
    if retries < MAX_RETRIES:
        return Retry(what, counts=True)
    details = "\n".join([*(text for _, text in loss.silent), *(failure.traceback for failure in own)])
    return End(Status.FAILED, f"{what}; that was attempt {retries + 1}, and the last", details)


def _said(failure: WorkerFailure) -> str:
    where = f" (on worker {failure.rank})" if failure.rank else ""
    return f"{failure.error}{where}"
