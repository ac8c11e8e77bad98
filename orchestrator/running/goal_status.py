"""Marks trials that miss the sweep's goals while it runs: in the journal, in MLflow and on the screen.

A stored result has no goals, because sweeps with other goals may reuse it (see `goals.judged`).
"""

from __future__ import annotations

from collections import defaultdict

from orchestrator.adaptive.resolve import Outlook
from orchestrator.analysis.goals import judged
from orchestrator.analysis.plan_file import StoredTrial, stored_plan
from orchestrator.analysis.table import make_table
from orchestrator.running.observer import Observer
from orchestrator.sweep.plan import Plan, Trial
from orchestrator.wording.goals import ending_words
from trainables.config.trial import VariantConfig
from trainables.results import Report, TrialResult


class GoalStatus:
    """An observer that passes everything on; a variant that misses a goal gets the status `goal_missed`."""

    def __init__(self, plan: Plan, observer: Observer) -> None:
        self._plan = stored_plan(plan)
        self._observer = observer
        self._relatives: dict[str, dict[str, TrialResult]] = defaultdict(dict)  # parent -> its variants' results

    def started(self, trial: Trial) -> None:
        self._observer.started(trial)

    def report(self, trial_id: str, report: Report) -> None:
        self._observer.report(trial_id, report)

    def waits(self, trial_id: str, reason: str) -> None:
        self._observer.waits(trial_id, reason)

    def planned(self, outlook: Outlook) -> None:
        self._observer.planned(outlook)

    def ended(self, result: TrialResult) -> None:
        self._observer.ended(self._judge(result, result.config) if isinstance(result.config, VariantConfig) else result)

    def _judge(self, result: TrialResult, config: VariantConfig) -> TrialResult:
        relatives = self._relatives[config.parent]
        relatives[result.id] = result
        trials = tuple(StoredTrial(id=one.id, config=one.config) for one in relatives.values())
        table = judged(make_table(self._plan.model_copy(update={"trials": trials}), relatives))
        row = table.row(result.id)
        if row is None or row.result is None:
            return result
        return row.result.model_copy(update={"reason": ending_words(table, row)})
