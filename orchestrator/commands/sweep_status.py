"""The progress of a sweep, read from its plan and its journal; to be run with `python -m` where the storage is reached.

python -m orchestrator.commands.sweep_status SWEEP STORAGE      prints one line of JSON, of a `HowFar`
"""

from __future__ import annotations

import sys
from collections import Counter

from orchestrator.analysis.plan_file import StoredPlan, StoredTrial, TableError, load_plan
from orchestrator.exit_codes import DONE, FAILED
from orchestrator.recording.journal_view import JournalError, JournalView, TrialLog, read
from orchestrator.running.progress import budget_fraction
from orchestrator.sweep.labels import describe, varying_settings
from orchestrator.text import plural
from trainables.config.base import FrozenConfig
from trainables.config.trial import ProbeConfig
from trainables.error_text import first_line
from trainables.results import Status
from trainables.storage import Storage


class OpenTrial(FrozenConfig):
    """A trial that has started and not ended. Times are milliseconds since 1970."""

    id: str
    what: str  # its settings as text
    since_ms: int  # when it was last started
    last_ms: int  # when its last event was recorded
    fraction: float | None  # share of the budget done; None for a variant, whose steps are of several kinds
    objective: float | None  # at its last evaluation


class HowFar(FrozenConfig):
    """The counts of a sweep's trials. Trials in `open` run now if they began after the current driver did."""

    sweep: str
    objective: str
    known: int
    to_come: int  # variants whose baseline is not chosen yet
    ended: dict[Status, int]
    open: tuple[OpenTrial, ...]
    last_ms: int | None  # when anything was last recorded

    @property
    def total(self) -> int:
        return self.known + self.to_come

    @property
    def done(self) -> int:
        return sum(self.ended.values())

    def running(self, driver_since_ms: int | None) -> tuple[OpenTrial, ...]:
        """Trials that the current driver has started; those of an earlier driver wait. None: no driver is running."""
        return tuple(t for t in self.open if driver_since_ms is not None and t.last_ms >= driver_since_ms)

    def waiting(self, driver_since_ms: int | None) -> int:
        return self.total - self.done - len(self.running(driver_since_ms))

    def words(self, driver_since_ms: int | None) -> str:
        """`7 of 23 trials ended (6 completed, 1 diverged); 2 running, 14 waiting`."""
        endings = ", ".join(f"{count} {status}" for status, count in self.ended.items())
        running = len(self.running(driver_since_ms))
        ended = f"{self.done} of {plural(self.total, 'trial')} ended" + (f" ({endings})" if endings else "")
        rest = "waiting" if driver_since_ms is not None else "not run"
        return f"{ended}; {running} running, {self.waiting(driver_since_ms)} {rest}"


def how_far(storage: Storage, sweep: str) -> HowFar:
    """Raises TableError if the storage has no such sweep, JournalError if its journal is damaged."""
    return _counted(load_plan(storage, sweep), read(storage, sweep))


def _counted(plan: StoredPlan, journal: JournalView) -> HowFar:
    known = {trial.id: trial for trial in plan.trials}
    logs = {id: log for id, log in journal.trials.items() if id in known}  # without trials of an earlier plan
    settings = varying_settings(t.config for t in plan.trials if not isinstance(t.config, ProbeConfig))
    ended = Counter(log.ended.result.status for log in logs.values() if log.ended is not None)
    return HowFar(
        sweep=plan.name,
        objective=plan.objective.metric,
        known=len(known),
        to_come=plan.to_come,
        ended=dict(ended),
        open=tuple(
            _open(known[id], log, settings, plan.objective.metric) for id, log in logs.items() if log.ended is None
        ),
        last_ms=max((log.last_ms for log in journal.trials.values()), default=None),
    )


def _open(trial: StoredTrial, log: TrialLog, settings: list[str], objective: str) -> OpenTrial:
    last = log.reports[-1].report if log.reports else None
    return OpenTrial(
        id=trial.id,
        what=describe(trial.config, settings),
        since_ms=log.last_started_ms,
        last_ms=log.last_ms,
        fraction=budget_fraction(trial.config, last),
        objective=None if last is None else last.metrics.get(objective),
    )


def main() -> int:
    sweep, storage = sys.argv[1:]
    try:
        print(how_far(Storage(storage), sweep).model_dump_json())
    except (TableError, JournalError, OSError, ValueError) as error:
        print(first_line(error))
        return FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
