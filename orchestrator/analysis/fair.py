"""Fair comparison of batch sizes: the metric after equal examples (equal work) and after equal steps (equal updates).

Runs are read at common checkpoints, on validation and training data alike: evenly spread over the examples that all of
them saw, and at doublings of the steps. Between two readings of a run the value is on the straight line between them;
outside of its readings it has none. A large batch that is behind after equal examples, on training data too, and level
after equal steps, took fewer steps; one that is level on training data and behind on validation data overfits.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.analysis.statistics import Difference, Verdict, corrected, paired_difference
from orchestrator.analysis.table import Configuration, Row, SweepTable
from orchestrator.analysis.tuning import Tuned, tuned
from orchestrator.analysis.verdict import contenders
from orchestrator.analysis.words import settings_words
from orchestrator.spec import Mode
from trainables.results import Report

Axis = Literal["examples", "steps"]

EXAMPLE_CHECKPOINTS = 10


@dataclass(frozen=True)
class Checkpoints:
    """Where all runs of a sweep are read."""

    examples: tuple[int, ...]
    steps: tuple[int, ...]

    def of(self, axis: Axis) -> tuple[int, ...]:
        return self.examples if axis == "examples" else self.steps


def checkpoints(table: SweepTable) -> Checkpoints:
    """Over the baselines that ran to their end. A number of steps is kept if runs of two batch sizes can be read there.

    With one batch size, if any run can.
    """
    rows = [row for c in table.baselines for row in c.measured if row.result is not None and row.result.history]
    if not rows:
        return Checkpoints((), ())
    end = min(_history(row)[-1].examples for row in rows)
    examples = tuple(end * i // EXAMPLE_CHECKPOINTS for i in range(1, EXAMPLE_CHECKPOINTS + 1))
    spans = [(row.config.training.batch_size, _history(row)[0].step, _history(row)[-1].step) for row in rows]
    enough = min(2, len({size for size, _, _ in spans}))
    doublings = (2**i for i in range(max(last for _, _, last in spans).bit_length()))
    steps = tuple(at for at in doublings if len({size for size, first, last in spans if first <= at <= last}) >= enough)
    return Checkpoints(tuple(dict.fromkeys(examples)), steps)


def value_at(history: Sequence[Report], axis: Axis, at: float, metric: str) -> float | None:
    """A metric after so many examples or steps; None before the first reading of it and after the last."""
    readings = [(_position(report, axis), report.metrics[metric]) for report in history if metric in report.metrics]
    readings = [(x, y) for x, y in readings if math.isfinite(y)]
    for (x0, y0), (x1, y1) in itertools.pairwise(readings):
        if x0 <= at <= x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    return next((y for x, y in readings if x == at), None)


def metrics_read(table: SweepTable) -> tuple[str, ...]:
    """The objective and the loss, each on validation and on training data, as far as runs report them."""
    objective = table.plan.objective.metric.removeprefix("best_")
    names = (objective, train_metric(objective), "val_loss", "train_loss")
    known = {name for row in table.rows if row.result for report in row.result.history for name in report.metrics}
    return tuple(name for name in dict.fromkeys(names) if name in known)


def train_metric(metric: str) -> str:
    return metric.removeprefix("best_").replace("val_", "train_", 1)


def readings(row: Row, axis: Axis, at: Iterable[int], metrics: Sequence[str]) -> list[dict[str, float | None]]:
    """One record per checkpoint: `{"examples": 4000, "val_accuracy": 0.91, "train_accuracy": 0.93}`."""
    history = _history(row)
    return [{axis: place, **{name: value_at(history, axis, place, name) for name in metrics}} for place in at]


def mean_at(configuration: Configuration, axis: Axis, at: int, metric: str) -> float | None:
    """Over the seeds that can be read there."""
    values = list(by_seed(configuration, axis, at, metric).values())
    return sum(values) / len(values) if values else None


def by_seed(configuration: Configuration, axis: Axis, at: int, metric: str) -> dict[int, float]:
    found = ((row.seed, value_at(_history(row), axis, at, metric)) for row in configuration.measured)
    return {seed: value for seed, value in found if value is not None}


# -- what it says -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Behind:
    """One choice against the best of those it is compared with, each at its best rate; paired by seed, this minus best.

    The two differ in the batch size, at one choice of all other settings, or in those settings, at one batch size. What
    a confirmation compares may differ in both.
    """

    batch_size: int
    best: int
    settings: str  # what the sweep varies beside batch size and rate, in words; empty if nothing
    best_settings: str
    examples: int  # the last common checkpoint
    validation: Difference | None
    training: Difference | None
    steps: int | None  # the last number of steps at which both can be read
    at_equal_steps: Difference | None  # of the validation metric

    @property
    def reason(self) -> str:
        """In one sentence part; differences that cannot be told are no difference to build on."""
        if self.validation is None:
            return "not determined (no seed in common)"
        if self.validation.verdict is Verdict.NOT_DETERMINED:
            return "not determined (one seed)"
        if self.validation.verdict is not Verdict.WORSE:
            return "no detectable difference at equal examples"
        if self.training is None or self.training.verdict is not Verdict.WORSE:
            return "overfits: as good on training data, worse on validation data"
        if self.batch_size == self.best:  # as many steps, so there is nothing to tell apart
            return "worse on training data too, so it does not overfit"
        if self.at_equal_steps is None:
            return "worse on training data too, so it does not overfit; no number of steps is common to both"
        if self.at_equal_steps.verdict is Verdict.WORSE:
            return "worse on training data too, and after equal steps: its steps are worse, not only fewer"
        return "took fewer steps: worse on training data too, and not after equal steps"


Pair = tuple[Tuned, Tuned]  # one, and the best of those it is compared with


def behind(table: SweepTable) -> list[Behind]:
    """Every choice against the best of its like; the p-values of each kind are Holm's.

    Where choices were confirmed with fresh seeds, those trials are compared: they are pairs.
    """
    places, objective = checkpoints(table), table.plan.objective
    metric = objective.metric.removeprefix("best_")
    pairs = list(_pairs(table)) if places.examples else []
    if not pairs:
        return []
    end = places.examples[-1]
    ends: list[int | None] = [end] * len(pairs)
    validation = _differences(pairs, "examples", ends, metric, objective.mode)
    training = _differences(pairs, "examples", ends, train_metric(metric), objective.mode)
    last = [_last_common(pair, places.steps, metric) for pair in pairs]
    steps = _differences(pairs, "steps", last, metric, objective.mode)
    return [
        Behind(
            batch_size=one.batch_size,
            best=best.batch_size,
            settings=settings_of(table, one),
            best_settings=settings_of(table, best),
            examples=end,
            validation=v,
            training=t,
            steps=at,
            at_equal_steps=s,
        )
        for (one, best), v, t, at, s in zip(pairs, validation, training, last, steps, strict=True)
    ]


def settings_of(table: SweepTable, entry: Tuned) -> str:
    return settings_words(entry.best.config, table.settings)


def _pairs(table: SweepTable) -> Iterator[Pair]:
    confirmed = [Tuned(c, (c,)) for contender in contenders(table) if (c := contender.configuration).measured]
    if confirmed:
        yield from _against_best(table, confirmed)
        return
    places = _places(table)
    same_settings, same_size = defaultdict[int, list[Tuned]](list), defaultdict[int, list[Tuned]](list)
    for entry in tuned(table):
        same_settings[places[entry.batch_size, settings_of(table, entry)]].append(entry)
        same_size[entry.batch_size].append(entry)
    for group in (*same_settings.values(), *same_size.values()):
        yield from _against_best(table, group)


def _places(table: SweepTable) -> dict[tuple[int, str], int]:
    """(batch size, settings in words) -> which of the sweep's choices it is: what is carried is worded otherwise at
    every batch size, and a plan has the same choices in the same order at each."""
    words: dict[int, dict[str, None]] = defaultdict(dict)
    for c in table.baselines:
        words[c.training.batch_size][settings_words(c.config, table.settings)] = None
    return {(size, word): place for size, several in words.items() for place, word in enumerate(several)}


def _against_best(table: SweepTable, entries: Sequence[Tuned]) -> Iterator[Pair]:
    objective = table.plan.objective
    sign = 1.0 if objective.mode == "max" else -1.0
    best = max(entries, key=lambda entry: sign * _final(entry, objective.metric))
    yield from ((entry, best) for entry in entries if entry is not best)


def _differences(
    pairs: Sequence[Pair], axis: Axis, at: Sequence[int | None], metric: str, mode: Mode
) -> list[Difference | None]:
    raw = [
        None
        if place is None
        else paired_difference(by_seed(one.best, axis, place, metric), by_seed(best.best, axis, place, metric), mode)
        for (one, best), place in zip(pairs, at, strict=True)
    ]
    return corrected(raw)


def _last_common(pair: Pair, steps: Sequence[int], metric: str) -> int | None:
    both = (at for at in reversed(steps) if all(by_seed(entry.best, "steps", at, metric) for entry in pair))
    return next(both, None)


def _final(entry: Tuned, metric: str) -> float:
    summary = entry.best.summary(metric)
    return summary.mean if summary else math.nan


def _position(report: Report, axis: Axis) -> int:
    return report.examples if axis == "examples" else report.step


def _history(row: Row) -> tuple[Report, ...]:
    return row.result.history if row.result is not None else ()
