"""Keeps the plan on the storage up to date, while results add trials to it."""

from __future__ import annotations

from orchestrator.adaptive.resolve import Outlook
from orchestrator.analysis.plan_file import PLAN, save_plan, stored_plan
from orchestrator.sweep.plan import Plan, Trial
from trainables.results import Report, TrialResult
from trainables.storage import Storage, sweep_file

GROWTH = 1.02  # least growth of the number of known variants before a large plan is written again


class PlanKeeper:
    """An observer that keeps the sweep's stored plan complete, as variants become known only while it runs.

    The plan of an earlier run stays stored until this run has seen all results, because until then it knows fewer
    variants. The time to write a plan grows with its size, so a large one is written whenever it has grown by 2 %, and
    at the end; with up to fifty variants, it is written for every new one.
    """

    def __init__(self, plan: Plan, storage: Storage) -> None:
        self._plan, self._storage = plan, storage
        self._outlook: Outlook | None = None  # from the ledger; before that, only the plan is known
        self._stored: tuple[int, int] | None = None  # stored by this run: known variants, variants to come
        if not storage.exists(sweep_file(plan.sweep.name, PLAN)):
            self.save()

    def started(self, trial: Trial) -> None:
        if self._stored is None:
            self.save()

    def report(self, trial_id: str, report: Report) -> None:
        pass

    def waits(self, trial_id: str, reason: str) -> None:
        pass

    def planned(self, outlook: Outlook) -> None:
        self._outlook = outlook
        if self._stored is None or self._stored == self._size:
            return
        if outlook.is_settled or outlook.beyond > GROWTH * self._stored[0]:
            self.save()

    def ended(self, result: TrialResult) -> None:
        pass

    def save(self) -> None:
        """The plan as it is known now."""
        if self._stored != self._size:
            self._stored = self._size
            known = self._outlook.known if self._outlook else ()
            save_plan(self._storage, stored_plan(self._plan, known, self._size[1]))

    @property
    def _size(self) -> tuple[int, int]:
        return (self._outlook.beyond, self._outlook.waiting) if self._outlook else (0, len(self._plan.pending))
