"""The state of every trial of a sweep, as its driver knows it. Only the driver writes results.

A result is on the storage before any observer hears of it, so observers can rely on it. A trial with a stored result,
from an earlier run or from another sweep, does not run again, unless that result was stopped early by a rule that this
sweep does not have.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from orchestrator.adaptive.early_answer import has_answered, may_end
from orchestrator.adaptive.resolve import Outlook
from orchestrator.analysis.result_file import load_result, save_result
from orchestrator.running.observer import Observer
from orchestrator.sweep.plan import Plan, Trial
from trainables.config.trial import VariantConfig
from trainables.results import Report, Status, TrialResult
from trainables.seal import DamagedFileError
from trainables.storage import Storage, checkpoint_file, remove_checkpoint, step_checkpoint_file


def tell_errors(sentence: str) -> None:
    """Print a message on standard error."""
    print(f"paretune: {sentence}", file=sys.stderr)


class Ledger:
    """Trials, evaluations and results of one run of a sweep."""

    def __init__(
        self,
        plan: Plan,
        storage: Storage,
        observer: Observer,
        *,
        earlier: Mapping[str, Sequence[Report]] | None = None,
        retry_failed: bool = False,
        tell: Callable[[str], None] = tell_errors,
    ) -> None:
        """`earlier`: evaluations of unfinished trials from an earlier run, so that their histories are complete.

        `tell` receives sentences for the user that do not belong to a trial.
        """
        self.plan = plan
        self.results: dict[str, TrialResult] = {}
        self.found: list[str] = []  # trials that already had a result
        self._storage = storage
        self._observer = observer
        self._retry_failed = retry_failed
        self.tell = tell
        self._damaged: dict[str, str] = {}  # trials whose result or model is damaged -> the message about it
        self._trials: dict[str, Trial] = {}
        self._reports = {trial: list(reports) for trial, reports in (earlier or {}).items()}
        self._started: set[str] = set()
        self._stored: set[str] = set()
        self._outlook = Outlook(plan)
        self._asked = self._dropped = 0  # number of the outlook's trials that are known here
        self._open: dict[str, Trial] = {}  # known, without a result
        self.known: list[Trial] = []  # all trials in the order in which they became known; only ever appended to

    def load(self) -> None:
        """Read the stored results, and report each to the observer. To be called once, before anything else."""
        self._stored = set(self._storage.names("trials"))
        self._outlook.learn(())
        self._observer.planned(self._outlook)
        self._take_in(self.plan.trials)
        self._follow_up()

    @property
    def trials(self) -> Mapping[str, Trial]:
        """Every trial known so far: all baselines, and the variants whose parent is chosen or failed."""
        return self._trials

    def has_answered(self, trial: str) -> bool:
        """Whether a running trial's evaluations have already determined the result that it was run for."""
        return has_answered(self.plan.sweep, self._trials[trial], self._trials.values(), self._history)

    def _history(self, trial: str) -> Sequence[Report]:
        return self.results[trial].history if trial in self.results else self._reports.get(trial, ())

    def open_trials(self) -> list[Trial]:
        """The trials without a result, in the plan's order."""
        return list(self._open.values())

    def first_open(self) -> Trial:
        """The next trial to run, if trials run one at a time. Raises StopIteration if none is open."""
        return next(iter(self._open.values()))

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to run, and nothing waits for a parent."""
        return self._outlook.is_settled and not self._open

    def started(self, trial: str) -> None:
        if trial not in self._started:
            self._started.add(trial)
            self._observer.started(self._trials[trial])

    def report(self, trial: str, report: Report) -> None:
        reports = self._reports.setdefault(trial, [])
        if not reports or report.step > reports[-1].step:
            reports.append(report)
            self._observer.report(trial, report)

    def waits(self, trial: str, reason: str) -> None:
        self._observer.waits(trial, reason)

    def ended(self, result: TrialResult) -> None:
        if damage := self._damaged.pop(result.id, ""):
            result = result.model_copy(update={"warnings": (damage, *result.warnings)})
        save_result(self._storage, result)
        if result.status not in (Status.FAILED, Status.OUT_OF_MEMORY, Status.PARENT_FAILED):
            for name in _checkpoints(result):  # they are no longer needed
                remove_checkpoint(self._storage, name)
        self._settle(result)
        self._follow_up()

    def ended_as(self, trial: str, status: Status, reason: str, details: str | None = None) -> None:
        """End a trial that could not report its result itself: the result is built from its evaluations."""
        result = TrialResult(
            id=trial,
            config=self._trials[trial].config,
            status=status,
            reason=reason,
            details=details,
            history=tuple(self._reports.get(trial, ())),
        )
        self.ended(result)

    def _settle(self, result: TrialResult) -> None:
        """Record a result and compute the trials that follow. All results go through here."""
        self.results[result.id] = result
        self._open.pop(result.id, None)
        self._outlook.learn([result])
        self._observer.planned(self._outlook)
        self._observer.ended(result)

    def _follow_up(self) -> None:
        """Add the trials that the outlook has requested. One with a stored result may lead to further trials."""
        while asked := self._outlook.asked[self._asked :]:
            self._asked += len(asked)
            self._take_in(asked)
        lost, self._dropped = self._outlook.dropped[self._dropped :], len(self._outlook.dropped)
        for variant in lost:  # no other trial depends on a variant
            if variant.trial is not None and variant.trial.id not in self.results:
                self._drop(variant.trial, variant.reason)

    def _drop(self, trial: Trial, reason: str) -> None:
        """End a variant that never began. Every run decides this again, as the parent may be retried and then
        succeed.
        """
        self._add(trial)
        result = TrialResult(id=trial.id, config=trial.config, status=Status.PARENT_FAILED, reason=reason)
        if self._read(trial.id) == result:
            self.found.append(trial.id)
        else:
            self.started(trial.id)
            save_result(self._storage, result)
        self._settle(result)

    def _take_in(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self._add(trial)
            result = self._stored_result(trial)
            if result is not None:
                self.found.append(trial.id)
                self._settle(result)

    def _add(self, trial: Trial) -> None:
        if trial.id not in self._trials:
            self._trials[trial.id] = self._open[trial.id] = trial
            self.known.append(trial)

    def _stored_result(self, trial: Trial) -> TrialResult | None:
        result = self._read(trial.id)
        return None if result is None or self._is_to_run_again(trial, result) else result

    def _is_to_run_again(self, trial: Trial, result: TrialResult) -> bool:
        match result.status:
            case Status.PARENT_FAILED:
                return True
            case Status.FAILED:
                return self._retry_failed
            case Status.STOPPED_EARLY:
                return not self._may_stop(trial, result.history)
            case _:
                return False

    def _may_stop(self, trial: Trial, history: Sequence[Report]) -> bool:
        """Whether this sweep's own rules could have stopped a trial with these evaluations.

        A trial's id does not depend on how its sweep stops trials. So another sweep, or this one before its file
        changed, may have stopped a trial that must now run to its end.
        """
        sweep = self.plan.sweep
        falls_behind = sweep.early_stopping is not None and trial.may_stop_early
        return falls_behind or may_end(sweep, trial, history)

    def _read(self, trial: str) -> TrialResult | None:
        """The stored result; None also if a file is damaged. That is reported, and the trial runs again."""
        if trial not in self._stored:
            return None
        try:
            return load_result(self._storage, trial)
        except DamagedFileError as error:
            self._damaged[trial] = f"{error.name} was damaged; the trial ran again and replaced it"
            self.tell(f"{error}; its trial runs again and replaces it")
            return None

    def __getstate__(self) -> dict[str, object]:
        """Empty, because the ledger's state is on the storage; Tune writes its own to a temporary folder."""
        return {}


def _checkpoints(result: TrialResult) -> list[str]:
    """The checkpoint files that a trial may have left, if its worker could not remove them."""
    steps = len(result.config.chain) if isinstance(result.config, VariantConfig) else 0
    return [checkpoint_file(result.id), *(step_checkpoint_file(result.id, number) for number in range(steps))]
