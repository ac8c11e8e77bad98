"""The verdict on the batch size, from the confirming trials, and the predictions that led to them.

fastest     the least mean log of the seconds of training to the target
cheapest    the least mean log of worker-seconds: the number of workers times as many
smallest    the smallest batch that is not detectably slower than the fastest, nor by more than 10 % in the mean. The
            second condition is there because few seeds detect nothing
no detectable difference    no other is detectably slower than the fastest: take any, the figures say which you like

Differences are of log seconds, paired by seed: a ratio with Student's 95 % interval, whose variance is pooled over all
confirmed configurations (`pooling.py`); verdicts hold at 5 % after Holm's correction over all comparisons with the
fastest. Only configurations whose seeds all reached the target are compared. If the first evaluation had reached the
target already, the time is an upper bound; there is no verdict if this holds for any configuration but the fastest.
When not to trust it: the fastest was selected by the same figures that it is then compared on, which favours it a
little; and the trials may have shared a machine, which affects their seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.analysis.pooling import Scale
from orchestrator.analysis.predict_batch import Fit, Prediction, fit, from_noise_scale, noise_scale, probed_step_time
from orchestrator.analysis.statistics import (
    ROUNDING,
    Difference,
    Verdict,
    corrected,
    paired_difference,
)
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import ToTarget, crossings
from orchestrator.sweep.plan import Stage
from trainables.estimate import Estimate

SHORTEST = 0.01  # least seconds to the target; shorter times cannot be compared
AS_FAST = 1.10  # largest mean ratio of seconds that counts as equally fast


@dataclass(frozen=True)
class Slower:
    """Another contender compared with the fastest: the ratio of seconds to the target, paired by seed."""

    contender: ToTarget
    difference: Difference | None  # of log seconds, Holm's p-value; None: no seed in common
    is_at_least: bool = False  # the fastest's seconds are an upper bound, so the ratio is a lower one

    @property
    def ratio(self) -> float:
        return math.exp(self.difference.mean) if self.difference else math.nan

    @property
    def interval(self) -> tuple[float, float] | None:
        d = self.difference
        return None if d is None or d.low is None or d.high is None else (math.exp(d.low), math.exp(d.high))

    @property
    def verdict(self) -> Verdict:
        return self.difference.verdict if self.difference else Verdict.NOT_DETERMINED


@dataclass(frozen=True)
class TrialsWaiting:
    trials: int  # trials known so far that have not ended


@dataclass(frozen=True)
class NeverReached:
    """No trial reached the target."""


@dataclass(frozen=True)
class NotEverySeed:
    """At no batch size did every fresh seed reach the target."""


@dataclass(frozen=True)
class TooShort:
    seconds: float  # the time within which the target is reached, too short to compare


@dataclass(frozen=True)
class FirstReadings:
    """The first evaluation at these batch sizes had reached the target already, so the time is only bounded."""

    batch_sizes: tuple[int, ...]


WhyNoVerdict = TrialsWaiting | NeverReached | NotEverySeed | TooShort | FirstReadings


@dataclass(frozen=True)
class BatchVerdict:
    """The findings of `batch_size: auto` so far. Fastest, cheapest and smallest are None if `undetermined` is set."""

    noise_scale: Estimate | None
    prior: Prediction | None  # from the noise scale
    fit: Fit
    contenders: tuple[ToTarget, ...]  # ascending by batch size
    fastest: ToTarget | None = None
    cheapest: ToTarget | None = None
    smallest: ToTarget | None = None
    others: tuple[Slower, ...] = ()
    undetermined: WhyNoVerdict | None = None

    @property
    def not_slower(self) -> tuple[ToTarget, ...]:
        """The fastest contender, and those that are not detectably slower."""
        return (
            *filter(None, [self.fastest]),
            *(other.contender for other in self.others if other.verdict is not Verdict.WORSE),
        )

    @property
    def no_difference(self) -> bool:
        """Whether other contenders were compared with the fastest, and none is detectably slower."""
        return bool(self.others) and not any(other.verdict is Verdict.WORSE for other in self.others)


def judge_batch_size(table: SweepTable, found: tuple[ToTarget, ...]) -> BatchVerdict | None:
    """None for a sweep with given batch sizes. `found`: the confirmed configurations, as from `contenders`."""
    if not any(row.stage in (Stage.FIT, Stage.SHORT_RUN) for row in table.rows):
        return None
    estimate = noise_scale(table.short_runs)
    tuned = fit(table)
    workers = tuned.rows[0].num_workers if tuned.rows else 1
    probe = next((probe for probe in table.probes if probe.config.num_workers == workers), None)
    if tuned.rows:
        precision = tuned.rows[0].configuration.training.precision
        alike = (p for p in table.probes if (p.config.num_workers, p.config.precision) == (workers, precision))
        probe = next(alike, probe)
    time = (probed_step_time(probe) if probe else None) or tuned.step_time
    prior = from_noise_scale(estimate, time, workers)
    verdict = BatchVerdict(estimate, prior, tuned, found)
    if (reason := _why_none(table, tuned, found)) is not None:
        return replace(verdict, undetermined=reason)
    verdict_of_all = decided(verdict, [contender for contender in found if contender.is_whole])
    if bounds := _bounds_that_matter(verdict_of_all):
        return replace(verdict, undetermined=FirstReadings(tuple(bounds)))
    return verdict_of_all


def contenders(table: SweepTable) -> tuple[ToTarget, ...]:
    """The confirmed configurations, with their confirming trials only."""
    found = []
    for configuration in table.configurations:
        rows = tuple(row for row in configuration.rows if row.stage is Stage.CONFIRMATION)
        if rows:
            confirming = replace(configuration, rows=rows)
            found.append(ToTarget(confirming, crossings(confirming, table.plan.objective), len(rows)))
    return tuple(sorted(found, key=lambda c: (c.batch_size, c.num_workers, c.configuration.key)))


def decided(verdict: BatchVerdict, whole: Sequence[ToTarget]) -> BatchVerdict:
    """The verdict over contenders whose seeds all reached the target; there must be at least one."""
    fastest = min(whole, key=lambda c: (c.mean_log_seconds, c.configuration.key))
    cheapest = min(whole, key=lambda c: (c.mean_log_cost, c.configuration.key))
    rest = [contender for contender in whole if contender is not fastest]
    differences = corrected([_difference(c, fastest, whole) for c in rest])
    others = tuple(
        Slower(contender, difference, fastest.is_bound) for contender, difference in zip(rest, differences, strict=True)
    )
    as_fast = [
        other.contender
        for other in others
        if other.verdict is not Verdict.WORSE and other.ratio <= AS_FAST * (1 + ROUNDING)
    ]
    smallest = min([fastest, *as_fast], key=lambda c: (c.batch_size, c.mean_log_seconds))
    return replace(verdict, fastest=fastest, cheapest=cheapest, smallest=smallest, others=others)


def _difference(contender: ToTarget, fastest: ToTarget, whole: Sequence[ToTarget]) -> Difference | None:
    others = [c.log_seconds for c in whole if c is not contender and c is not fastest]
    return paired_difference(contender.log_seconds, fastest.log_seconds, "min", others, Scale.PLAIN)


def _why_none(table: SweepTable, tuned: Fit, found: Sequence[ToTarget]) -> WhyNoVerdict | None:
    whole = [contender for contender in found if contender.is_whole]
    if whole and not _any_waiting(found):
        soonest = min(contender.seconds.mean for contender in whole)
        return None if soonest >= SHORTEST else TooShort(soonest)
    waiting = [row.result for row in table.rows].count(None) + [probe.result for probe in table.probes].count(None)
    if waiting:
        return TrialsWaiting(waiting)
    return NotEverySeed() if tuned.rows else NeverReached()


def _bounds_that_matter(verdict: BatchVerdict) -> list[int]:
    """Batch sizes that had reached the target at the first evaluation, if this leaves the verdict open.

    If the fastest has only an upper bound, it is the fastest if all others are slower than the bound; it cannot be
    tied.
    """
    bounds = {other.contender.batch_size for other in verdict.others if other.contender.is_bound}
    if verdict.fastest and verdict.fastest.is_bound and len(verdict.not_slower) > 1:
        bounds.add(verdict.fastest.batch_size)
    return sorted(bounds)


def _any_waiting(found: Sequence[ToTarget]) -> bool:
    return any(row.result is None for contender in found for row in contender.configuration.rows)
