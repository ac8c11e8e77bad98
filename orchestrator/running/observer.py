"""The interface of those who are told of a sweep's trials while it runs: display, journal, goals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from orchestrator.adaptive.resolve import Outlook
from orchestrator.sweep.plan import Trial
from trainables.results import Report, TrialResult


class Observer(Protocol):
    """Whoever wants to know. Called from the driver's main thread, one call at a time; an error ends the sweep."""

    def started(self, trial: Trial) -> None:
        """The trial has a gang, or ends without one, its parent having failed. Not called where a result was there."""

    def report(self, trial_id: str, report: Report) -> None:
        """A reading. After a restart, a trial goes on behind the last one it gave."""

    def waits(self, trial_id: str, reason: str) -> None:
        """The trial has no workers, and waits for them until its next reading: `for 2 x (1 CPU): a node is gone`."""

    def planned(self, outlook: Outlook) -> None:
        """What the sweep's trials are, as far as the results so far tell. Called once before anything else, and
        whenever a trial has ended, just before `ended`; always with the same outlook, brought up to date by the ledger.
        """

    def ended(self, result: TrialResult) -> None:
        """The result is on the storage. Called once for every trial, also for one that another run had ended."""


@dataclass(frozen=True)
class Observers:
    """Several observers as one, told in this order."""

    each: tuple[Observer, ...]

    def started(self, trial: Trial) -> None:
        for observer in self.each:
            observer.started(trial)

    def report(self, trial_id: str, report: Report) -> None:
        for observer in self.each:
            observer.report(trial_id, report)

    def waits(self, trial_id: str, reason: str) -> None:
        for observer in self.each:
            observer.waits(trial_id, reason)

    def planned(self, outlook: Outlook) -> None:
        for observer in self.each:
            observer.planned(outlook)

    def ended(self, result: TrialResult) -> None:
        for observer in self.each:
            observer.ended(result)
