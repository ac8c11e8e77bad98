"""Runs a sweep with an executor for its trials: gangs on Ray (tuner.py), or this process itself (inline.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from orchestrator.running.ledger import Ledger, tell_errors
from orchestrator.running.observer import Observer
from orchestrator.sweep.plan import Plan
from trainables.errors import ParetuneError
from trainables.results import Report, TrialResult
from trainables.storage import Storage

ExecutorName = Literal["ray", "inline"]
RUN_TRIAL = "trainables.trial:run_trial"  # the function that runs a trial; tests use another one


class Interrupted(ParetuneError):  # noqa: N818 - an interruption by the user is not an error
    """The sweep was stopped before its end. Running it again resumes it."""

    def __init__(self, ended: int, known: int) -> None:
        super().__init__(f"stopped with {ended} of {known} trials ended; run the same command again to resume")
        self.ended = ended
        self.known = known


class NobodyAtWorkError(ParetuneError, RuntimeError):
    """No workers are left to run the trials; no trial is at fault."""


class Executor(Protocol):
    """Executes trials. tests/contract/test_executor.py is the contract of every executor."""

    @property
    def is_here(self) -> bool:
        """Whether this machine executes the trials."""

    def run(self, ledger: Ledger, storage: Storage) -> None:
        """Run trials without a result until the ledger is complete, and report starts, evaluations and ends to it.

        `ledger`: already loaded. Raises NeverFitsError before anything runs, Interrupted on Ctrl-C, NobodyAtWorkError
        if no workers are left, and every error of the ledger or of its observers; the next run then resumes from the
        storage.
        """


@dataclass(frozen=True)
class SweepOutcome:
    results: Mapping[str, TrialResult]  # of every trial of the sweep, by id
    found: tuple[str, ...]  # trials that were not run, because they already had a result


def run_sweep(
    plan: Plan,
    storage: Storage,
    observer: Observer,
    executor: Executor,
    *,
    earlier: Mapping[str, Sequence[Report]] | None = None,
    retry_failed: bool = False,
    tell: Callable[[str], None] = tell_errors,
) -> SweepOutcome:
    """Run every trial of the plan that has no result yet, and the trials that follow from their results.

    Raises the executor's errors. `earlier`, `retry_failed`, `tell`: see Ledger.
    """
    ledger = Ledger(plan, storage, observer, earlier=earlier, retry_failed=retry_failed, tell=tell)
    ledger.load()
    if not ledger.is_complete:
        executor.run(ledger, storage)
    return SweepOutcome(ledger.results, tuple(ledger.found))
