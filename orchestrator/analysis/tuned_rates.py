"""What the baselines say about batch size and learning rate.

Batch sizes are compared at the learning rate that suits each (Shallue et al. 2018, arXiv 1811.03600): the envelope over
the rates. A best rate on the edge of its grid is flagged, because the true optimum may lie outside.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from orchestrator.analysis.statistics import Summary, mean_over_seeds
from orchestrator.analysis.table import Configuration, SweepTable
from orchestrator.sweep.labels import settings_words
from orchestrator.sweep.metrics import sign_of


@dataclass(frozen=True)
class Tuned:
    """One batch size (and one choice of the other settings), at the learning rate with the best mean objective.

    Of equal ones (an accuracy is easily the same) the one with the fewest steps to the target, then the lowest.
    """

    best: Configuration
    rates: tuple[Configuration, ...]  # all that were tried there, ascending by learning rate

    @property
    def batch_size(self) -> int:
        return self.best.training.batch_size

    @property
    def edge(self) -> str | None:
        """`lowest` or `highest` when the best rate is at an end of the grid (of at least two rates)."""
        if len(self.rates) < 2:
            return None
        return {self.rates[0].key: "lowest", self.rates[-1].key: "highest"}.get(self.best.key)


@dataclass(frozen=True)
class ToTarget:
    """What training to the objective's target took: figures over the seeds that got there, and how many did."""

    reached: int
    seeds: int
    steps: Summary
    examples: Summary
    seconds: Summary
    is_bound: bool  # the first reading of a seed was there already: the figures are upper bounds


def tuned(table: SweepTable) -> list[Tuned]:
    """The envelope, ascending by batch size. A batch size where no trial ran to its end is not in it."""
    objective = table.plan.objective
    sign = sign_of(objective.mode)
    groups: dict[tuple[int, str], list[Configuration]] = defaultdict(list)
    for configuration in table.baselines:
        settings = settings_words(configuration.config, table.settings)
        groups[configuration.training.batch_size, settings].append(configuration)
    envelope = []
    for _, group in sorted(groups.items()):
        means = {c.key: summary.mean for c in group if (summary := c.summary(objective.metric)) is not None}
        ended = table.whole([c for c in group if math.isfinite(means.get(c.key, math.nan))])
        if ended:
            most = max(sign * means[c.key] for c in ended)
            tied = [c for c in ended if sign * means[c.key] == most]
            best = min(tied, key=lambda c: (_steps(table, c), c.training.learning_rate)) if len(tied) > 1 else tied[0]
            envelope.append(Tuned(best, tuple(sorted(group, key=lambda c: c.training.learning_rate))))
    return envelope


def _steps(table: SweepTable, configuration: Configuration) -> float:
    """To the target, by every seed; infinite where one was not there, and where there is no target."""
    outcome = to_target(table, configuration)
    return math.inf if outcome is None or outcome.reached < outcome.seeds else outcome.steps.mean


def to_target(table: SweepTable, configuration: Configuration) -> ToTarget | None:
    """None when no seed reached the target, or there is none. A mean over only some seeds flatters: say how many."""
    outcomes = configuration.reached(table.plan.objective)
    there = [reach for reach in outcomes if reach is not None]
    if not there:
        return None
    return ToTarget(
        len(there),
        len(outcomes),
        mean_over_seeds([r.steps for r in there]),
        mean_over_seeds([r.examples for r in there]),
        mean_over_seeds([r.seconds for r in there]),
        any(r.is_bound for r in there),
    )
