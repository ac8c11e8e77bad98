"""Fair comparison of batch sizes: the metric after equal examples (equal work) and after equal steps (equal updates).

Runs are read at common checkpoints, on validation and training data alike: evenly spread over the examples that all of
them saw, and at doublings of the steps. Between two readings of a run the value is on the straight line between them;
outside of its readings it has none. A large batch that is behind after equal examples, on training data too, and level
after equal steps, took fewer steps; one that is further behind on validation data than on training data overfits, which
its gap between the two must show: to see nothing on training data is no evidence, and to see nothing of the gap is none
that a batch does not overfit. So the gap's interval is given.

Training data is judged as validation data is: by the model at the reading, in eval mode, on as many rows. The mean loss
of the steps before a reading would not do: it lags behind, and batch norm and dropout are at work in it.

Doubts: where the learning rate has a schedule, equal steps of two budgets lie at different phases of it. And Holm's
correction is over what is compared with the best, not over the choice of the best: of 20 choices that are all equal,
one is called worse in 10 to 19 % of sweeps (simulated, normal errors), of 4 in 5 to 8 %.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from orchestrator.analysis.batch_verdict import contenders
from orchestrator.analysis.common_readings import Axis, by_seed, checkpoints, history, on_line, train_metric
from orchestrator.analysis.format import one_seed_words
from orchestrator.analysis.pooling import Scale
from orchestrator.analysis.statistics import Difference, Verdict, corrected, on_rows, paired_difference
from orchestrator.analysis.table import Configuration, SweepTable
from orchestrator.analysis.tuned_rates import Tuned, tuned
from orchestrator.sweep.labels import settings_words
from orchestrator.sweep.metrics import sign_of
from trainables.estimate import Estimate

Read = Callable[[Configuration, int], dict[int, float]]  # at so many examples or steps: seed -> value

CARRIED = {"optimizer", "schedule"}  # settings that `carry` may change with the batch size


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
    gap: Difference | None  # of validation minus training: worse if more is lost on validation data than on training
    took_fewer_steps: bool  # over those examples
    steps: int | None  # the last number of steps at which both can be read
    at_equal_steps: Difference | None  # of the validation metric
    in_phase: bool  # after equal steps, both learning rates are as far on one schedule, or constant

    @property
    def reason(self) -> str:
        """In one sentence part; differences that cannot be told are no difference to build on."""
        if self.validation is None:
            return "not determined (no seed in common)"
        if self.validation.verdict is Verdict.NOT_DETERMINED:
            return one_seed_words(self.validation)
        if not _is_worse(self.validation):
            return "no detectable difference at equal examples"
        if not _is_worse(self.training):
            if _is_worse(self.gap):
                return "overfits: worse on validation data, by more than on training data"
            return "worse on validation data; not determined whether it overfits"
        more = "by more" if _is_worse(self.gap) else "not detectably by more"
        too = f"worse on training data too, and {more} on validation data"
        if not self.took_fewer_steps:
            return too
        if self.at_equal_steps is None:
            return f"{too}; no number of steps is common to both"
        doubt = "" if self.in_phase else ", but the learning-rate schedules are at different phases there"
        if not _is_worse(self.at_equal_steps):
            return f"took fewer steps: {too}; not detectably worse after equal steps{doubt}"
        return f"{too}; also worse after equal steps{doubt or ': its steps are worse, not only fewer'}"


def _is_worse(difference: Difference | None) -> bool:
    return difference is not None and difference.verdict is Verdict.WORSE


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
    compare = partial(_differences, table, pairs)
    validation = compare(ends, _reader("examples", metric), rows_of=metric)
    training = compare(ends, _reader("examples", train_metric(metric)))
    gaps = compare(ends, _gap_reader(metric), scale=Scale.PLAIN)
    last = [_last_common(pair, metric) for pair in pairs]
    steps = compare(last, _reader("steps", metric))
    return [
        Behind(
            batch_size=one.batch_size,
            best=best.batch_size,
            settings=settings_of(table, one),
            best_settings=settings_of(table, best),
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


def settings_of(table: SweepTable, entry: Tuned) -> str:
    return settings_words(entry.best.config, table.settings)


def _pairs(table: SweepTable) -> Iterator[Pair]:
    confirmed = [Tuned(c, (c,)) for contender in contenders(table) if (c := contender.configuration).measured]
    if confirmed:
        yield from _against_best(table, confirmed)
        return
    names = choices(table)
    same_settings, same_size = defaultdict[str, list[Tuned]](list), defaultdict[int, list[Tuned]](list)
    for entry in tuned(table):
        same_settings[names[entry.batch_size, settings_of(table, entry)]].append(entry)
        same_size[entry.batch_size].append(entry)
    for group in (*same_settings.values(), *same_size.values()):
        yield from _against_best(table, group)


def choices(table: SweepTable) -> dict[tuple[int, str], str]:
    """(batch size, settings in words) -> which of the sweep's choices it is, in words that hold at every batch size.

    What is carried is worded otherwise at each: it is named by its words at the first, and found by its place, since a
    grid has the same choices in the same order at every batch size. Where one has fewer (two warm-ups may be carried to
    the same one), the place tells nothing, and the words stand for themselves.
    """
    words: dict[int, dict[str, None]] = defaultdict(dict)
    for c in table.baselines:
        words[c.training.batch_size][settings_words(c.config, table.settings)] = None
    if not CARRIED & set(table.settings) or len({len(own) for own in words.values()}) > 1:
        return {(size, word): word for size, own in words.items() for word in own}
    first = next(iter(words))
    names = [
        alike[0] if len(set(alike)) == 1 else f"{alike[0]} at batch size {first}"
        for alike in zip(*words.values(), strict=True)
    ]
    return {(size, word): name for size, own in words.items() for word, name in zip(own, names, strict=True)}


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
    """What was read of one seed, with the interval over rows that its end has, if that was near."""
    for row in configuration.measured:
        end, value = row.result.metrics.get(metric) if row.result else None, read.get(row.seed)
        if end is None or value is None or end.low is None or end.high is None or not end.low <= value <= end.high:
            continue
        moved = value - end.value
        return end.model_copy(update={"value": value, "low": end.low + moved, "high": end.high + moved})
    return None


def _reader(axis: Axis, metric: str) -> Read:
    return lambda configuration, at: by_seed(configuration, axis, at, metric)


def _gap_reader(metric: str) -> Read:
    """Validation minus training, seed by seed: both are the same figure of other rows, so they have one scale."""

    def gaps(configuration: Configuration, at: int) -> dict[int, float]:
        validation = by_seed(configuration, "examples", at, metric)
        training = by_seed(configuration, "examples", at, train_metric(metric))
        return {seed: validation[seed] - training[seed] for seed in validation.keys() & training.keys()}

    return gaps


def _took_fewer_steps(one: Configuration, best: Configuration, examples: int) -> bool:
    """Over so many examples, by the seeds of both: batches may grow, so that their sizes at the start do not tell."""
    taken = [
        {row.seed: on_line([(0, 0), *((r.examples, r.step) for r in history(row))], examples) for row in c.measured}
        for c in (one, best)
    ]
    few, many = (sum(steps[seed] or 0.0 for seed in taken[0].keys() & taken[1].keys()) for steps in taken)
    return few < many and not math.isclose(few, many)


def _in_phase(one: Configuration, best: Configuration) -> bool:
    if one.training.schedule.name == best.training.schedule.name == "constant":
        return True
    ends = [{history(row)[-1].step for row in c.measured if history(row)} for c in (one, best)]
    return one.training.schedule == best.training.schedule and ends[0] == ends[1]


def _last_common(pair: Pair, metric: str) -> int | None:
    """Where the first of their runs ends, if both can be read there."""
    ends = [history(row)[-1].step for entry in pair for row in entry.best.measured if history(row)]
    at = min(ends, default=0)
    return at if all(by_seed(entry.best, "steps", at, metric) for entry in pair) else None


def _final(entry: Tuned, metric: str) -> float:
    summary = entry.best.summary(metric)
    return summary.mean if summary else math.nan
