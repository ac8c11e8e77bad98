"""The best learning rate of each batch size, from the baselines.

Each batch size is compared at its own best learning rate (Shallue et al. 2018, arXiv 1811.03600): the envelope over the
rates. A best rate at the edge of its grid is flagged, because the optimum may lie outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.analysis.rows import Configuration
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import to_target
from orchestrator.sweep.metrics import sign_of


@dataclass(frozen=True)
class Tuned:
    """One batch size (and one choice of the other settings), at the learning rate with the best mean objective.

    Among equal ones (accuracies are often equal), the one with the fewest steps to the target, then the lowest.
    """

    best: Configuration
    rates: tuple[Configuration, ...]  # all configurations tried there, ascending by learning rate

    @property
    def batch_size(self) -> int:
        return self.best.training.batch_size

    @property
    def edge(self) -> str | None:
        """`lowest` or `highest` if the best learning rate is at an end of the grid (of at least two rates)."""
        if len(self.rates) < 2:
            return None
        return {self.rates[0].key: "lowest", self.rates[-1].key: "highest"}.get(self.best.key)


def tuned(table: SweepTable) -> list[Tuned]:
    """The envelope, ascending by batch size. A batch size where no trial ran to its end is not in it."""
    objective = table.plan.objective
    sign = sign_of(objective.mode)
    envelope = []
    for group in table.by_place().values():
        means = {c.key: summary.mean for c in group if (summary := c.summary(objective.metric)) is not None}
        ended = table.whole([c for c in group if math.isfinite(means.get(c.key, math.nan))])
        if ended:
            most = max(sign * means[c.key] for c in ended)
            tied = [c for c in ended if sign * means[c.key] == most]
            best = min(tied, key=lambda c: (_steps(table, c), c.training.learning_rate)) if len(tied) > 1 else tied[0]
            envelope.append(Tuned(best, tuple(sorted(group, key=lambda c: c.training.learning_rate))))
    return envelope


def _steps(table: SweepTable, configuration: Configuration) -> float:
    """Mean steps to the target over all seeds; infinite if one never reached it, and without a target."""
    outcome = to_target(configuration, table.plan.objective)
    return math.inf if outcome is None or not outcome.is_whole else outcome.steps.mean
