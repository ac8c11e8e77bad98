"""Adds learning rates beyond the edge of those tried, because a best rate at the edge may not be the optimum.

For every batch size and choice of other settings (except the seed): if the best learning rate is the lowest or highest
tried, one more is added, as far from it as its neighbour on the other side; up to a limit, or until the best lies
inside. The best rate has the most seeds at the target, then the fewest failed seeds (the mean of the remaining ones
would favour too high a rate), then the fewest steps to the target (Shallue et al. 2018, arXiv 1811.03600). If no trial
reaches the target, or there is no target, the best mean objective decides. A rate at which every seed fails is the
worst.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from orchestrator.analysis.rows import MEASURED, TRAINED
from orchestrator.analysis.target_crossing import target_crossing
from orchestrator.analysis.time_to_target import middle_rate
from orchestrator.planning.scaling import SIGNIFICANT_DIGITS
from orchestrator.sweep.plan import Stage, Trial
from orchestrator.sweep.spec import Objective
from trainables.config.trial import BaselineConfig, trial_id
from trainables.results import TrialResult

Results = Mapping[str, TrialResult]
Score = tuple[float, float, float]  # lower is better

MIN_FACTOR, MAX_FACTOR = 1.2, 4.0  # limits of the ratio from one rate to the next: not too close, not too far


@dataclass(frozen=True)
class Edges:
    """The added trials of a group, at learning rates beyond the edge of those tried."""

    added: tuple[Trial, ...]
    missing: tuple[str, ...]  # trials, given or added, that have not ended; until they have, more may follow


def beyond_edges(trials: Sequence[Trial], results: Results, objective: Objective, limit: int) -> Edges:
    """`trials`: baselines. At most `limit` rates are added to each group that differs by rate and seed alone."""
    search = EdgeSearch(trials, objective, limit)
    search.learn(results, list(results))
    return Edges(search.added, tuple(search.missing))


class EdgeSearch:
    """The same, for results that arrive one by one: a group is considered when all of its trials have ended."""

    def __init__(self, trials: Sequence[Trial], objective: Objective, limit: int) -> None:
        self._objective, self._limit = objective, limit
        self._groups: dict[str, list[Trial]] = defaultdict(list)
        self._added: dict[str, dict[str, Trial]] = {}  # group -> its trials by id, in the order of the groups
        self._group_of: dict[str, str] = {}  # trial -> group
        for trial in trials:
            group = self._group_of[trial.id] = but_for_rate(trial)
            self._groups[group].append(trial)
            self._added[group] = {}
        self._left = Counter(self._group_of.values())  # trials of a group that have not ended
        self.missing: dict[str, None] = dict.fromkeys(self._group_of)  # trials, given or added, that have not ended

    @property
    def added(self) -> tuple[Trial, ...]:
        """Further learning rates for each group of trials."""
        return tuple(trial for group in self._added.values() for trial in group.values())

    def learn(self, results: Results, new: Iterable[str]) -> list[Trial]:
        """The trials that are newly added. `results`: all results; `new`: ids of those since the last call."""
        touched: dict[str, None] = {}
        for ended in new:
            if ended in self.missing:
                del self.missing[ended]
                self._left[self._group_of[ended]] -= 1
                touched[self._group_of[ended]] = None
        return [trial for group in touched if not self._left[group] for trial in self._grow(group, results)]

    def _grow(self, group: str, results: Results) -> list[Trial]:
        known = self._added[group]
        grown = _grown(self._groups[group], results, self._objective, self._limit)
        fresh = [trial for trial in grown if trial.id not in known]
        for trial in fresh:
            known[trial.id] = trial
            self._group_of[trial.id] = group
            if trial.id not in results:
                self.missing[trial.id] = None
                self._left[group] += 1
        return fresh


def but_for_rate(trial: Trial) -> str:
    """A key that is equal for trials which differ only by learning rate and seed; task options are settings, too."""
    return trial.config.model_dump_json(exclude={"training": {"learning_rate", "seed"}})


def _grown(group: Sequence[Trial], results: Results, objective: Objective, limit: int) -> Iterator[Trial]:
    by_rate: dict[float, list[Trial]] = defaultdict(list)
    for trial in group:
        by_rate[trial.training.learning_rate].append(trial)
    for _ in range(limit):
        if any(trial.id not in results for trials in by_rate.values() for trial in trials):
            return
        rate = next_rate({rate: [results[t.id] for t in trials] for rate, trials in by_rate.items()}, objective)
        if rate is None or rate in by_rate:
            return
        edge = min(by_rate) if rate < min(by_rate) else max(by_rate)
        by_rate[rate] = [_at_rate(trial, rate, edge) for trial in by_rate[edge]]
        yield from by_rate[rate]


def next_rate(by_rate: Mapping[float, Sequence[TrialResult]], objective: Objective) -> float | None:
    """The next learning rate to try; None if the best of at least two lies inside, or if no rate succeeded."""
    rates = sorted(by_rate)
    best = best_rate(by_rate, objective)
    if len(rates) < 2 or best not in (rates[0], rates[-1]):
        return None
    edge, neighbour = (rates[0], rates[1]) if best == rates[0] else (rates[-1], rates[-2])
    factor = max(edge / neighbour, neighbour / edge)
    factor = min(max(factor, MIN_FACTOR), MAX_FACTOR)
    return float(f"{edge * factor if edge > neighbour else edge / factor:.{SIGNIFICANT_DIGITS}g}")


def best_rate(by_rate: Mapping[float, Sequence[TrialResult]], objective: Objective) -> float | None:
    """The learning rate with the best results over its seeds; None if no trial ended. Of equal ones, the middle one."""
    scores = {rate: score for rate, results in by_rate.items() if (score := rate_score(results, objective)) is not None}
    if not scores:
        return None
    least = min(scores.values())
    return middle_rate([rate for rate, score in scores.items() if score == least], list(by_rate))


def rate_score(results: Sequence[TrialResult], objective: Objective) -> Score | None:
    """(minus the share of seeds at the target, the share of failed seeds, mean log steps of seeds at the target).

    If no seed reached the target, the last is the mean objective of seeds that ran to their end; None if none did.
    """
    broken = sum(result.status not in TRAINED for result in results) / len(results)
    found = (target_crossing(result.history, objective) for result in results if result.status in TRAINED)
    reached = [math.log(where.steps) for where in found if where is not None]
    if reached:
        return -len(reached) / len(results), broken, fmean(reached)
    ended = [result for result in results if result.status in MEASURED]
    values = [r.metrics[objective.metric].value for r in ended if objective.metric in r.metrics]
    if not values or not all(map(math.isfinite, values)):
        return None
    return 0.0, broken, fmean(values) if objective.mode == "min" else -fmean(values)


def _at_rate(trial: Trial, rate: float, edge: float) -> Trial:
    """The same trial at another learning rate."""
    if not isinstance(trial.config, BaselineConfig):
        raise TypeError(f"trial {trial.id} is not a baseline")
    training = trial.training.model_copy(update={"learning_rate": rate})
    config = trial.config.model_copy(update={"training": training})
    which = "highest" if rate > edge else "lowest"
    return Trial(trial_id(config), config, f"beyond the {which}, {edge:g}", Stage.EDGE)
