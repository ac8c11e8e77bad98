"""The progress of a sweep, computed from its events. It prints nothing: see commands/live_display.py."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.adaptive.resolve import Outlook
from orchestrator.analysis.rows import MEASURED
from orchestrator.sweep.labels import describe, swept_settings
from orchestrator.sweep.metrics import sign_of
from orchestrator.sweep.plan import Plan, Trial
from orchestrator.text import plural
from trainables.config.trial import AnyTrialConfig, BaselineConfig, ProbeConfig, VariantConfig
from trainables.results import Report, Status, TrialResult

LATE_SECONDS = 60.0  # shortest silence after which a trial is no longer expected to keep its pace
Clock = Callable[[], float]  # seconds, never going back
TrialKind = tuple[str, int]  # baseline, variant or probe; batch size


@dataclass
class Mean:
    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    @property
    def value(self) -> float:
        return self.total / self.count


@dataclass
class Running:
    trial: Trial
    since: float
    last: Report | None = None
    heard: float = 0.0  # time of its last evaluation, or of its start
    longest: float = 0.0  # most seconds between two evaluations so far
    waits: str | None = None  # what it waits for, while it has no workers

    @property
    def fraction(self) -> float | None:
        return budget_fraction(self.trial.config, self.last)


def budget_fraction(config: AnyTrialConfig, last: Report | None) -> float | None:
    """Share of the budget done at an evaluation; None for variants, whose steps are of several kinds."""
    if not isinstance(config, BaselineConfig):
        return None
    if last is None:
        return 0.0
    budget = config.training.budget
    done = {"examples": last.examples, "steps": last.step, "seconds": last.seconds}.get(budget.unit)
    return None if done is None else min(1.0, done / budget.amount)


@dataclass(frozen=True)
class TimeLeft:
    seconds: float
    is_least: bool  # a lower bound, as some trials are of a kind that has not been timed yet


class Progress:
    """An observer (see ledger.py) that counts trials. `total` grows as results lead to further trials."""

    def __init__(self, plan: Plan, clock: Clock = time.monotonic, earlier: str = "") -> None:
        """`earlier`: a sentence about earlier trials that no longer belong to the sweep (see analysis/plan_file.py)."""
        self.plan = plan
        self.running: dict[str, Running] = {}
        self.results: dict[str, TrialResult] = {}
        self.found = 0  # trials that ended before this run
        self.has_started = False
        self._earlier = earlier
        self.best: TrialResult | None = None
        self.began = clock()
        self._clock = clock
        self._settings = swept_settings(plan.sweep)
        self._seconds: dict[TrialKind, Mean] = defaultdict(Mean)  # duration of a trial, from start to end
        self.total = len(plan.trials) + len(plan.pending)
        """Number of trials of the sweep, as far as known; variants whose parent is not chosen yet count once each."""
        self._asked = 0  # number of the outlook's requested trials that _baselines already counts
        self._baselines = Counter(map(_kind, plan.trials))  # known and not ended, including probes

    # -- told by the driver -------------------------------------------------------------------------------------------

    def started(self, trial: Trial) -> None:
        self.has_started = True
        self.running[trial.id] = Running(trial, self._clock(), heard=self._clock())

    def report(self, trial_id: str, report: Report) -> None:
        if (running := self.running.get(trial_id)) is not None:
            now = self._clock()
            gap = 0.0 if running.waits else now - running.heard
            running.last, running.waits = report, None
            running.heard, running.longest = now, max(running.longest, gap)

    def waits(self, trial_id: str, reason: str) -> None:
        if trial_id in self.running:
            self.running[trial_id].waits = reason

    def planned(self, outlook: Outlook) -> None:
        self.total = outlook.total
        self._baselines.update(_kind(trial) for trial in outlook.asked[self._asked :] if not _is_variant(trial))
        self._asked = len(outlook.asked)

    def ended(self, result: TrialResult) -> None:
        running = self.running.pop(result.id, None)
        self.results[result.id] = result
        if running is None:
            self.found += 1
        elif result.status in MEASURED:
            self._seconds[_kind(running.trial)].add(self._clock() - running.since)
        self._keep_best(result)
        self._baselines.subtract([] if _is_variant(result) else [_kind(result)])

    # -- worked out ---------------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        return self._clock() - self.began

    def seconds_of(self, running: Running) -> float:
        """Seconds that a trial has been running."""
        return self._clock() - running.since

    @property
    def at_work(self) -> list[Running]:
        """Trials that have workers and report evaluations at their usual pace."""
        return [running for running in self.running.values() if running.waits is None and not self._is_late(running)]

    def _is_late(self, running: Running) -> bool:
        """Whether a trial has been silent for so long that its earlier pace no longer predicts its end."""
        if running.last is not None:
            return self._clock() - running.heard > max(LATE_SECONDS, 4 * running.longest)
        expected = self._mean_seconds(_kind(running.trial))
        return expected is not None and self._clock() - running.since > LATE_SECONDS + 3 * expected

    @property
    def silence(self) -> float:
        """Seconds since any trial reported an evaluation, began or ended."""
        return self._clock() - max((running.heard for running in self.running.values()), default=self._clock())

    @property
    def waiting(self) -> int:
        return max(0, self.total - len(self.results) - len(self.running))

    @property
    def examples_per_second(self) -> float | None:
        """Sum over all training trials, from the last evaluation of each; None before the first evaluation."""
        rates = [r.last.metrics.get("examples_per_second") for r in self.at_work if r.last is not None]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None

    @property
    def failures(self) -> Counter[Status]:
        """Number of trials per ending other than completed."""
        return Counter(r.status for r in self.results.values() if r.status is not Status.COMPLETED)

    @property
    def opening_words(self) -> str:
        """Results from before this run: `3 of 12 trials had a result already`. Often empty."""
        if not self.found and not self._earlier:
            return ""
        words = f"{self.found} of {plural(self.total, 'trial')} had a result already"
        return f"{words}; {self._earlier}" if self._earlier else words

    def describe(self, trial: TrialResult | Trial) -> str:
        """A label that distinguishes a trial from all others of its sweep."""
        return describe(trial.config, self._settings)

    def objective_of(self, result: TrialResult) -> float | None:
        estimate = result.metrics.get(self.plan.sweep.objective.metric)
        return estimate.value if estimate is not None and result.status in MEASURED else None

    def time_left(self) -> TimeLeft | None:
        """Estimated time left: mean time of trials of the same kind and batch size, divided by the running trials.

        None while nothing has been timed or no trial is running. It is a rough estimate: gangs are not always all busy,
        and variants wait for parents.
        """
        if not self.running and not self.waiting:
            return TimeLeft(0.0, False)
        at_work = self.at_work
        if self.running and not at_work:
            return None
        work, untimed = 0.0, len(self.running) - len(at_work)
        for running in at_work:
            expected, elapsed = self._expected(running), self._clock() - running.since
            untimed += expected is None
            work += 0.0 if expected is None else max(0.0, expected - elapsed)
        for key, count in self._waiting_kinds().items():
            mean = self._mean_seconds(key)
            untimed += count if mean is None else 0
            work += 0.0 if mean is None else count * mean
        if work == 0 and untimed:
            return None
        return TimeLeft(work / max(1, len(at_work)), untimed > 0)

    def _expected(self, running: Running) -> float | None:
        """Estimated total seconds of a running trial: from its own share of the budget, else from similar trials."""
        fraction = running.fraction
        if fraction:
            return (self._clock() - running.since) / fraction
        return self._mean_seconds(_kind(running.trial))

    def _mean_seconds(self, key: TrialKind) -> float | None:
        """Mean seconds of such trials; of the same kind at any batch size, if none of them has ended yet."""
        if key in self._seconds:
            return self._seconds[key].value
        alike = [mean for (kind, _), mean in self._seconds.items() if kind == key[0]]
        return sum(mean.total for mean in alike) / sum(mean.count for mean in alike) if alike else None

    def _waiting_kinds(self) -> Counter[TrialKind]:
        kinds = self._baselines.copy()
        kinds.subtract(_kind(r.trial) for r in self.running.values() if not _is_variant(r.trial))
        kinds = +kinds
        if (variants := self.waiting - kinds.total()) > 0:
            kinds["variant", 0] = variants
        return kinds

    def _keep_best(self, result: TrialResult) -> None:
        value, sign = self.objective_of(result), sign_of(self.plan.sweep.objective.mode)
        best = None if self.best is None else self.objective_of(self.best)
        if value is not None and (best is None or sign * value > sign * best):
            self.best = result


def _is_variant(trial: Trial | TrialResult) -> bool:
    return isinstance(trial.config, VariantConfig)


def _kind(trial: Trial | TrialResult) -> TrialKind:
    config = trial.config
    return config.kind, 0 if isinstance(config, ProbeConfig) else config.training.batch_size
