"""Comparison of batch sizes at equal budgets: the metric after equal examples (work) and equal steps (updates).

Runs are compared at common points, on validation and training data: spread evenly over the examples that all runs saw,
and at doublings of the steps. Between two evaluations of a run, the value is interpolated linearly; outside there is
none. If a large batch is worse after equal examples, on training data too, but not after equal steps, it trained for
fewer steps. If it is worse by more on validation data than on training data, it overfits. The gap between the two must
show this: no difference on training data alone is no evidence of overfitting, and no detectable gap is no evidence
against it. So the gap's interval is reported.

Training data is evaluated like validation data: with the same model, in eval mode, on as many rows. The mean loss of
the preceding steps would not do: it lags behind, and batch norm and dropout affect it.

Doubts: with a learning-rate schedule, equal steps of two budgets lie at different phases of the schedule. And Holm's
correction covers the comparisons with the best, not the selection of the best: if 20 choices are all equal, one is
called worse in 10 to 19 % of sweeps (simulated, normal errors); with 4 choices, in 5 to 8 %.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from orchestrator.analysis.common_readings import by_seed, on_line, train_metric
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.pooling import Scale
from orchestrator.analysis.rows import Configuration, ReadingAxis
from orchestrator.analysis.settings_choices import SettingsChoice
from orchestrator.analysis.statistics import Difference, Verdict, corrected, on_rows, paired_difference
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.tuned_rates import Tuned
from orchestrator.sweep.metrics import sign_of
from trainables.estimate import Estimate

Read = Callable[[Configuration, int], dict[int, float]]  # at so many examples or steps: seed -> value


class Finding(StrEnum):
    """The result of comparing a choice with the best comparable one, at equal examples."""

    NO_COMMON_SEED = "no seed in common"
    ONE_SEED = "one seed"  # nothing is determined over seeds
    NO_DIFFERENCE = "no detectable difference"
    OVERFITS = "overfits"  # worse on validation data, by more than on training data
    WORSE_ON_VALIDATION = "worse on validation data"  # not determined whether it overfits
    WORSE_ON_BOTH = "worse on both"  # and it did not take fewer steps
    NO_COMMON_STEPS = "no steps in common"  # worse on both; it took fewer steps, and cannot be read at equal ones
    FEWER_STEPS = "fewer steps"  # worse on both; not after equal steps
    WORSE_STEPS = "worse steps"  # worse on both, after equal steps too


@dataclass(frozen=True)
class Behind:
    """One choice against the best of those it is compared with, each at its best rate; paired by seed, this minus best.

    The two differ in the batch size, at one choice of all other settings, or in those settings, at one batch size. What
    a confirmation compares may differ in both.
    """

    configuration: Configuration
    against: Configuration  # the best of its like
    examples: int  # the last common checkpoint
    validation: Difference | None
    training: Difference | None
    gap: Difference | None  # of validation minus training: worse if more is lost on validation data than on training
    took_fewer_steps: bool  # over those examples
    steps: int | None  # the last number of steps at which both have a value
    at_equal_steps: Difference | None  # of the validation metric
    in_phase: bool  # after equal steps, both are at the same phase of one schedule, or have constant rates

    @property
    def batch_size(self) -> int:
        return self.configuration.training.batch_size

    @property
    def best(self) -> int:
        """The batch size that it is compared with."""
        return self.against.training.batch_size

    @property
    def more_on_validation(self) -> bool:
        """Whether it is worse by more on validation data than on training data."""
        return _is_worse(self.gap)

    @property
    def finding(self) -> Finding:
        """The finding from the differences; a difference that is not determined supports none."""
        if self.validation is None:
            return Finding.NO_COMMON_SEED
        if self.validation.verdict is Verdict.NOT_DETERMINED:
            return Finding.ONE_SEED
        if not _is_worse(self.validation):
            return Finding.NO_DIFFERENCE
        if not _is_worse(self.training):
            return Finding.OVERFITS if self.more_on_validation else Finding.WORSE_ON_VALIDATION
        if not self.took_fewer_steps:
            return Finding.WORSE_ON_BOTH
        if self.at_equal_steps is None:
            return Finding.NO_COMMON_STEPS
        return Finding.WORSE_STEPS if _is_worse(self.at_equal_steps) else Finding.FEWER_STEPS


def _is_worse(difference: Difference | None) -> bool:
    return difference is not None and difference.verdict is Verdict.WORSE


Pair = tuple[Tuned, Tuned]  # one, and the best of those it is compared with


def behind(evidence: Evidence) -> list[Behind]:
    """Every choice compared with the best comparable one; p-values are corrected by Holm, for each kind separately.

    If choices were confirmed with fresh seeds, those trials are compared, because they are paired.
    """
    table, places, objective = evidence.table, evidence.checkpoints, evidence.table.plan.objective
    metric = objective.metric.removeprefix("best_")
    pairs = list(_pairs(evidence)) if places.examples else []
    if not pairs:
        return []
    end = places.examples[-1]
    ends: list[int | None] = [end] * len(pairs)
    compare = partial(_differences, table, pairs)
    on_validation, on_training = _reader("examples", metric), _reader("examples", train_metric(metric))
    validation = compare(ends, on_validation, rows_of=metric)
    training = compare(ends, on_training)
    gaps = compare(ends, _gap_reader(on_validation, on_training), scale=Scale.PLAIN)
    last = [_last_common(pair, metric) for pair in pairs]
    steps = compare(last, _reader("steps", metric))
    return [
        Behind(
            configuration=one.best,
            against=best.best,
            examples=end,
            validation=v,
            training=t,
            gap=g,
            took_fewer_steps=_took_fewer_steps(one.best, best.best, end),
            steps=at,
            at_equal_steps=s,
            in_phase=_in_phase(one.best, best.best),
        )
        for (one, best), v, t, g, at, s in zip(pairs, validation, training, gaps, last, steps, strict=True)
    ]


def _pairs(evidence: Evidence) -> Iterator[Pair]:
    table = evidence.table
    confirmed = [Tuned(c, (c,)) for contender in evidence.contenders if (c := contender.configuration).measured]
    if confirmed:
        yield from _against_best(table, confirmed)
        return
    choices = evidence.choices
    same_settings, same_size = defaultdict[SettingsChoice, list[Tuned]](list), defaultdict[int, list[Tuned]](list)
    for entry in evidence.tuned:
        same_settings[choices[table.place_of(entry.best)]].append(entry)
        same_size[entry.batch_size].append(entry)
    for group in (*same_settings.values(), *same_size.values()):
        yield from _against_best(table, group)


def _against_best(table: SweepTable, entries: Sequence[Tuned]) -> Iterator[Pair]:
    objective = table.plan.objective
    sign = sign_of(objective.mode)
    best = max(entries, key=lambda entry: sign * _final(entry, objective.metric))
    yield from ((entry, best) for entry in entries if entry is not best)


def _differences(
    table: SweepTable,
    pairs: Sequence[Pair],
    at: Sequence[int | None],
    read: Read,
    *,
    scale: Scale | None = None,
    rows_of: str | None = None,
) -> list[Difference | None]:
    """Of each pair at its place, the variance pooled over all baselines there; of one seed, over the metric's rows."""
    there: dict[int, dict[str, dict[int, float]]] = {}  # place -> configuration -> seed -> value

    def difference(one: Configuration, best: Configuration, place: int) -> Difference | None:
        if place not in there:
            there[place] = {c.key: read(c, place) for c in table.baselines}
        own, other = read(one, place), read(best, place)
        pool = [values for key, values in there[place].items() if key not in {one.key, best.key}]
        found = paired_difference(own, other, table.plan.objective.mode, pool, scale)
        if rows_of is None:
            return found
        return on_rows(found, _over_rows(one, rows_of, own), _over_rows(best, rows_of, other))

    places = zip(pairs, at, strict=True)
    return corrected([None if p is None else difference(one.best, best.best, p) for (one, best), p in places])


def _over_rows(configuration: Configuration, metric: str, read: Mapping[int, float]) -> Estimate | None:
    """The value of one seed there, with the interval over rows of its last evaluation, if that is near."""
    for row in configuration.measured:
        end, value = row.result.metrics.get(metric) if row.result else None, read.get(row.seed)
        if end is None or value is None or end.low is None or end.high is None or not end.low <= value <= end.high:
            continue
        moved = value - end.value
        return end.model_copy(update={"value": value, "low": end.low + moved, "high": end.high + moved})
    return None


def _reader(axis: ReadingAxis, metric: str) -> Read:
    """Remembers: each choice is compared with the best, and all of them make up the pool of each comparison."""
    known: dict[tuple[str, int], dict[int, float]] = {}

    def read(configuration: Configuration, at: int) -> dict[int, float]:
        place = configuration.key, at
        if place not in known:
            known[place] = by_seed(configuration, axis, at, metric)
        return known[place]

    return read


def _gap_reader(on_validation: Read, on_training: Read) -> Read:
    """Validation minus training, by seed: both are the same metric on different rows, so they share one scale."""

    def gaps(configuration: Configuration, at: int) -> dict[int, float]:
        validation, training = on_validation(configuration, at), on_training(configuration, at)
        return {seed: validation[seed] - training[seed] for seed in validation.keys() & training.keys()}

    return gaps


def _took_fewer_steps(one: Configuration, best: Configuration, examples: int) -> bool:
    """Over so many examples, by the seeds of both: batches may grow, so that their sizes at the start do not tell."""
    taken = [
        {row.seed: on_line([(0, 0), *((r.examples, r.step) for r in row.history)], examples) for row in c.measured}
        for c in (one, best)
    ]
    few, many = (sum(steps[seed] or 0.0 for seed in taken[0].keys() & taken[1].keys()) for steps in taken)
    return few < many and not math.isclose(few, many)


def _in_phase(one: Configuration, best: Configuration) -> bool:
    if one.training.schedule.name == best.training.schedule.name == "constant":
        return True
    ends = [{row.history[-1].step for row in c.measured if row.history} for c in (one, best)]
    return one.training.schedule == best.training.schedule and ends[0] == ends[1]


def _last_common(pair: Pair, metric: str) -> int | None:
    """Where the first of their runs ends, if both can be read there."""
    ends = [row.history[-1].step for entry in pair for row in entry.best.measured if row.history]
    at = min(ends, default=0)
    return at if all(by_seed(entry.best, "steps", at, metric) for entry in pair) else None


def _final(entry: Tuned, metric: str) -> float:
    summary = entry.best.summary(metric)
    return summary.mean if summary else math.nan
