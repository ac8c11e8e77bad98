"""Which batch size to train at: the verdict over the confirmation trials, and the predictions that led to them.

fastest     the least mean log of the seconds of training to the target
cheapest    the least mean log of worker-seconds: the number of workers times as many
smallest    the smallest batch that is not detectably slower than the fastest, nor by more than 10 % in the mean. The
            second condition is there because few seeds detect nothing
no detectable difference    no other is detectably slower than the fastest: take any, the figures say which you like

Differences are of log seconds, paired by seed: a ratio with Student's 95 % interval, its variance pooled over all that
were confirmed (`pooling.py`); verdicts hold at 5 % after Holm's
correction over all that are compared with the fastest. Only configurations of which every seed reached the target take
part. Where the first reading was at the target already, the time is an upper bound; there is no verdict if that holds
for any but the fastest. When not to trust it: the fastest was chosen by the figures that it is then compared on, which
favours it a little; and seconds are those of trials that may have shared a machine.
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

SHORTEST = 0.01  # seconds to the target; below, a clock tells nothing apart
AS_FAST = 1.10  # a mean ratio of seconds up to this may count as equal


@dataclass(frozen=True)
class Slower:
    """Another contender against the fastest: seconds to the target as a ratio, paired by seed."""

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
    trials: int  # that were asked for so far and have not ended


@dataclass(frozen=True)
class NeverReached:
    """No trial reached the target."""


@dataclass(frozen=True)
class NotEverySeed:
    """At no batch size did every fresh seed reach the target."""


@dataclass(frozen=True)
class TooShort:
    seconds: float  # within which the target is reached: a clock tells nothing apart


@dataclass(frozen=True)
class FirstReadings:
    """There the first reading was at the target already, so how soon it was reached is not known."""

    batch_sizes: tuple[int, ...]


WhyNoVerdict = TrialsWaiting | NeverReached | NotEverySeed | TooShort | FirstReadings


@dataclass(frozen=True)
class BatchVerdict:
    """The findings of `batch_size: auto` so far. The three are None where `undetermined` gives a reason."""

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
        """The fastest, and those that are not detectably slower."""
        return (
            *filter(None, [self.fastest]),
            *(other.contender for other in self.others if other.verdict is not Verdict.WORSE),
        )

    @property
    def no_difference(self) -> bool:
        """Whether there was something to compare with the fastest, and nothing of it is detectably slower."""
        return bool(self.others) and not any(other.verdict is Verdict.WORSE for other in self.others)


def judge_batch_size(table: SweepTable, found: tuple[ToTarget, ...]) -> BatchVerdict | None:
    """None for a sweep whose batch sizes are given in its file. `found`: what was confirmed, as by `contenders`."""
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
    """The configurations that were confirmed, with their confirming trials alone."""
    found = []
    for configuration in table.configurations:
        rows = tuple(row for row in configuration.rows if row.stage is Stage.CONFIRMATION)
        if rows:
            confirming = replace(configuration, rows=rows)
            found.append(ToTarget(confirming, crossings(confirming, table.plan.objective), len(rows)))
    return tuple(sorted(found, key=lambda c: (c.batch_size, c.num_workers, c.configuration.key)))


def decided(verdict: BatchVerdict, whole: Sequence[ToTarget]) -> BatchVerdict:
    """The verdict over contenders of which every seed reached the target; at least one."""
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
    """Batch sizes that were at the target by the first reading, and so maybe long before, where that leaves it open.

    The fastest by an upper bound is the fastest if all others are slower than that; it is equal to nobody.
    """
    bounds = {other.contender.batch_size for other in verdict.others if other.contender.is_bound}
    if verdict.fastest and verdict.fastest.is_bound and len(verdict.not_slower) > 1:
        bounds.add(verdict.fastest.batch_size)
    return sorted(bounds)


def _any_waiting(found: Sequence[ToTarget]) -> bool:
    return any(row.result is None for contender in found for row in contender.configuration.rows)
