"""The interface of observers of a running sweep: display, journal, goals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from orchestrator.adaptive.resolve import Outlook
from orchestrator.sweep.plan import Trial
from trainables.results import Report, TrialResult


class Observer(Protocol):
    """An observer. It is called from the driver's main thread, one call at a time; its errors end the sweep."""

    def started(self, trial: Trial) -> None:
        """The trial has a gang, or ends without one because its parent failed. Not called for a stored result."""

    def report(self, trial_id: str, report: Report) -> None:
        """An evaluation. After a restart, a trial continues after its last reported evaluation."""

    def waits(self, trial_id: str, reason: str) -> None:
        """The trial waits for workers, until its next evaluation. The reason reads `for 2 x (1 CPU): a node is
        gone`.
        """

    def planned(self, outlook: Outlook) -> None:
        """The sweep's trials, as far as the results determine them. Called once before anything else, and whenever a
        trial has ended, just before `ended`; always with the same outlook object, which the ledger updates.
        """

    def ended(self, result: TrialResult) -> None:
        """The result is on the storage. Called once for every trial, also for one that ended in an earlier run."""


@dataclass(frozen=True)
class Observers:
    """Several observers as one, called in this order."""

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
