"""Runs a sweep, whatever executes its trials: gangs on Ray (tuner.py), or this process itself (inline.py)."""

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
RUN_TRIAL = "trainables.trial:run_trial"  # what runs a trial; another one for tests


class Interrupted(ParetuneError):  # noqa: N818 - somebody pressed Ctrl-C; nothing is wrong
    """The sweep was stopped before its end. Running it again goes on where it stopped."""

    def __init__(self, ended: int, known: int) -> None:
        super().__init__(f"stopped with {ended} of {known} trials ended; the same command again goes on from here")
        self.ended = ended
        self.known = known


class NobodyAtWorkError(ParetuneError, RuntimeError):
    """Nothing is wrong with any trial: there is nobody to run them."""


class Executor(Protocol):
    """Executes trials. tests/contract/test_executor.py holds what every executor must do."""

    @property
    def is_here(self) -> bool:
        """Whether this machine executes them."""

    def run(self, ledger: Ledger, storage: Storage) -> None:
        """Run trials without a result until the ledger is complete, and tell it of their starts, readings and ends.

        `ledger`: loaded. Raises NeverFitsError before anything runs, Interrupted on Ctrl-C,
        NobodyAtWorkError where nothing is left to run trials on, and whatever the ledger or
        one of its observers raises; then the next run goes on from what is on the storage.
        """


@dataclass(frozen=True)
class SweepOutcome:
    results: Mapping[str, TrialResult]  # of every trial of the sweep, by id
    found: tuple[str, ...]  # trials that were not run, because their result was there


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
    """Run every trial of the plan that has no result yet, and the trials that follow from them.

    Raises what the executor raises. `earlier`, `retry_failed`, `tell`: see Ledger.
    """
    ledger = Ledger(plan, storage, observer, earlier=earlier, retry_failed=retry_failed, tell=tell)
    ledger.load()
    if not ledger.is_complete:
        executor.run(ledger, storage)
    return SweepOutcome(ledger.results, tuple(ledger.found))
