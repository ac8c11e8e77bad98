"""A planned trial with its result (a row), and the trials that differ only by seed (a configuration)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from orchestrator.analysis.statistics import Summary, mean_over_seeds, of_one
from orchestrator.analysis.target_crossing import Crossing, target_crossing
from orchestrator.sweep.plan import Stage
from orchestrator.sweep.spec import Objective
from trainables.config.compression import describe_chain
from trainables.config.training import Training
from trainables.config.trial import ProbeConfig, TrainedConfig
from trainables.results import Report, Status, TrialResult

ReadingAxis = Literal["examples", "steps"]
Curve = list[tuple[float, float]]

MEASURED = frozenset({Status.COMPLETED, Status.GOAL_MISSED})  # ended with the figures of a whole run
TRAINED = MEASURED | {Status.STOPPED_EARLY}  # ended with evaluations that are valid as far as they go
WAITING = "waiting"


def position(report: Report, axis: ReadingAxis) -> int:
    return report.examples if axis == "examples" else report.step


@dataclass(frozen=True)
class Row:
    """One planned baseline or variant and, once it has ended, its result."""

    id: str
    config: TrainedConfig
    learning_rate_source: str | None
    result: TrialResult | None
    stage: Stage = Stage.GRID

    @property
    def kind(self) -> str:
        return self.config.kind

    @property
    def parent(self) -> str | None:
        return self.config.parent if self.config.kind == "variant" else None

    @property
    def seed(self) -> int:
        return self.config.training.seed

    @property
    def compression(self) -> str:
        """The chain as text; empty for a baseline."""
        return describe_chain(self.config.chain) if self.config.kind == "variant" else ""

    @property
    def status(self) -> str:
        return self.result.status.value if self.result else WAITING

    @property
    def measured(self) -> bool:
        return self.result is not None and self.result.status in MEASURED

    @property
    def trained(self) -> bool:
        return self.result is not None and self.result.status in TRAINED

    def value(self, metric: str) -> float | None:
        """The figure of a trial that ran to its end; None otherwise."""
        if self.result is None or not self.measured or metric not in self.result.metrics:
            return None
        return self.result.metrics[metric].value

    @property
    def history(self) -> tuple[Report, ...]:
        """The trial's evaluations, earliest first; empty as long as it has no result."""
        return self.result.history if self.result is not None else ()

    def curve(self, axis: ReadingAxis, metric: str) -> Curve:
        """The trial's finite values of a metric, as (examples or steps, value). Cached, as comparisons need
        them often.
        """
        if (axis, metric) not in self._curves:
            readings = ((position(report, axis), report.metrics.get(metric, math.nan)) for report in self.history)
            self._curves[axis, metric] = [(x, y) for x, y in readings if math.isfinite(y)]
        return self._curves[axis, metric]

    @cached_property
    def _curves(self) -> dict[tuple[ReadingAxis, str], Curve]:
        return {}


@dataclass(frozen=True)
class ProbeRow:
    """One planned probe and, once it has ended, its result. It has no model, so it cannot be recommended."""

    id: str
    config: ProbeConfig
    result: TrialResult | None

    @property
    def status(self) -> str:
        return self.result.status.value if self.result else WAITING


@dataclass(frozen=True)
class Configuration:
    """Trials that differ only by seed (and, for variants, by the seed of their parents). Ordered by seed."""

    key: str  # eight hexadecimal digits of the content that the trials share
    rows: tuple[Row, ...]

    @property
    def kind(self) -> str:
        return self.rows[0].kind

    @property
    def training(self) -> Training:
        return self.rows[0].config.training

    @property
    def config(self) -> TrainedConfig:
        """The first trial's configuration; the others differ by seed, and variants by parent."""
        return self.rows[0].config

    @property
    def compression(self) -> str:
        return self.rows[0].compression

    @property
    def learning_rate_source(self) -> str | None:
        return next((row.learning_rate_source for row in self.rows if row.learning_rate_source), None)

    @cached_property
    def measured(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.measured)

    @property
    def lost(self) -> tuple[Row, ...]:
        """Trials that ended without the figures of a whole run: they failed, or were stopped early."""
        return tuple(row for row in self.rows if row.result and not row.measured)

    @property
    def broken(self) -> tuple[Row, ...]:
        """The lost trials that failed: diverged, out of memory, ... A trial that was stopped early has not failed."""
        return tuple(row for row in self.lost if row.status != Status.STOPPED_EARLY)

    @cached_property
    def _values(self) -> dict[str, Mapping[int, float]]:
        """Cache by metric, as every pair of configurations needs the values again."""
        return {}

    def values(self, metric: str) -> Mapping[int, float]:
        """Seed -> value, over the trials that ran to their end."""
        if metric not in self._values:
            pairs = ((row.seed, row.value(metric)) for row in self.measured)
            self._values[metric] = {seed: value for seed, value in pairs if value is not None}
        return self._values[metric]

    def summary(self, metric: str) -> Summary | None:
        """Mean over seeds with its interval; with one seed, that trial's figure with its own interval."""
        values = self.values(metric)
        if len(values) > 1:
            return mean_over_seeds(list(values.values()))
        for row in self.measured:
            if row.result is not None and (estimate := row.result.metrics.get(metric)) is not None:
                return of_one(estimate)
        return None

    def reached(self, objective: Objective) -> list[Crossing | None]:
        """For every trial that ran to its end, the crossing of the objective's target; empty without a target."""
        if objective.target is None:
            return []
        return [target_crossing(row.result.history, objective) for row in self.measured if row.result is not None]
