"""The metrics of runs at common points: after equal examples, and after equal steps.

Between two evaluations of a run, the value is interpolated linearly; outside of its evaluations there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.analysis.rows import Configuration, ReadingAxis, Row
from orchestrator.analysis.table import SweepTable

EXAMPLE_CHECKPOINTS = 10


@dataclass(frozen=True)
class Checkpoints:
    """The points (examples, steps) at which all runs of a sweep are compared."""

    examples: tuple[int, ...]
    steps: tuple[int, ...]

    def of(self, axis: ReadingAxis) -> tuple[int, ...]:
        return self.examples if axis == "examples" else self.steps


def checkpoints(table: SweepTable) -> Checkpoints:
    """The points for the baselines that ran to their end. A number of steps is kept if runs of two batch sizes reach
    it.

    With one batch size, if any run reaches it.
    """
    rows = [row for c in table.baselines for row in c.measured if row.history]
    if not rows:
        return Checkpoints((), ())
    end = min(row.history[-1].examples for row in rows)
    examples = tuple(end * i // EXAMPLE_CHECKPOINTS for i in range(1, EXAMPLE_CHECKPOINTS + 1))
    spans = [(row.config.training.batch_size, row.history[0].step, row.history[-1].step) for row in rows]
    enough = min(2, len({size for size, _, _ in spans}))
    doublings = (2**i for i in range(max(last for _, _, last in spans).bit_length()))
    steps = tuple(at for at in doublings if len({size for size, first, last in spans if first <= at <= last}) >= enough)
    return Checkpoints(tuple(dict.fromkeys(examples)), steps)


def on_line(points: Iterable[tuple[float, float]], at: float) -> float | None:
    """Linear interpolation between two points; None outside of all points."""
    before, there = None, None
    for x1, y1 in points:
        if before is not None and before[0] <= at <= x1:
            x0, y0 = before
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
        if there is None and x1 == at:
            there = y1
        before = x1, y1
    return there


def metrics_read(table: SweepTable) -> tuple[str, ...]:
    """The objective and the loss, each on validation and on training data, as far as runs report them."""
    objective = table.plan.objective.metric.removeprefix("best_")
    names = (objective, train_metric(objective), "val_loss", "train_loss")
    known = {name for row in table.rows if row.result for report in row.result.history for name in report.metrics}
    return tuple(name for name in dict.fromkeys(names) if name in known)


def train_metric(metric: str) -> str:
    return metric.removeprefix("best_").replace("val_", "train_", 1)


def readings(row: Row, axis: ReadingAxis, at: Iterable[int], metrics: Sequence[str]) -> list[dict[str, float | None]]:
    """One record per checkpoint: `{"examples": 4000, "val_accuracy": 0.91, "train_accuracy": 0.93}`."""
    lines = {name: row.curve(axis, name) for name in metrics}
    return [{axis: place, **{name: on_line(line, place) for name, line in lines.items()}} for place in at]


def mean_at(configuration: Configuration, axis: ReadingAxis, at: int, metric: str) -> float | None:
    """The mean over the seeds that have a value there."""
    values = list(by_seed(configuration, axis, at, metric).values())
    return sum(values) / len(values) if values else None


def by_seed(configuration: Configuration, axis: ReadingAxis, at: int, metric: str) -> dict[int, float]:
    """Seed -> a metric there, without seeds whose first evaluation is later or whose last one is earlier."""
    found = ((row.seed, on_line(row.curve(axis, metric), at)) for row in configuration.measured)
    return {seed: value for seed, value in found if value is not None}
