"""The findings about the batch size for people: lines and a table in the terminal, sections of the page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from orchestrator.analysis.common_readings import mean_at, train_metric
from orchestrator.analysis.comparison import SweepComparison
from orchestrator.analysis.critical_batch import MIN_SIZES
from orchestrator.analysis.rows import ReadingAxis
from orchestrator.analysis.statistics import Summary
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import ToTarget
from orchestrator.report.tables import text_table, titled
from orchestrator.sweep.labels import settings_words
from orchestrator.wording.batch_size import batch_size_headline, choice_words, curve_words, doubts, verdict_sentences
from orchestrator.wording.format import number, target_words, with_interval

SHOWN_CHECKPOINTS = 6  # columns of a table on the page
Grid = tuple[Sequence[str], Sequence[Sequence[str]]]  # heads, rows


def target_grid(table: SweepTable, rows: Sequence[ToTarget]) -> Grid:
    """The training effort of each batch size, at its learning rate with the fewest steps."""
    several = bool(table.settings)
    figures = ["steps", "examples", "seconds", "worker-seconds", "seeds"]
    heads = ["batch", "rate", *(["settings"] if several else []), *figures]
    lines = [
        [
            str(row.batch_size),
            f"{row.configuration.training.learning_rate:.4g}{'!' if row.edge else ''}",
            *([settings_words(row.configuration.config, table.settings)] if several else []),
            *(
                ("≤ " if row.is_bound else "") + _words(figure)
                for figure in (row.steps, row.examples, row.seconds, row.worker_seconds)
            ),
            f"{len(row.crossings)} of {row.seeds}",
        ]
        for row in rows
    ]
    return heads, lines


def equal_grid(comparison: SweepComparison, axis: ReadingAxis) -> Grid | None:
    """Validation / training metric at common points, each batch size at its best learning rate; None without any."""
    places = comparison.evidence.checkpoints.of(axis)
    shown = places[-SHOWN_CHECKPOINTS:] if axis == "steps" else places[1::2]
    metric = comparison.table.plan.objective.metric.removeprefix("best_")
    entries = comparison.evidence.tuned
    if not shown or len(entries) < 2:
        return None

    def cell(index: int, at: int) -> str:
        pair = [mean_at(entries[index].best, axis, at, name) for name in (metric, train_metric(metric))]
        return "-" if pair[0] is None else " / ".join("-" if value is None else number(value) for value in pair)

    several = bool(comparison.table.settings)
    rows = [
        [
            str(entry.batch_size),
            *([settings_words(entry.best.config, comparison.table.settings)] if several else []),
            *(cell(i, at) for at in shown),
        ]
        for i, entry in enumerate(entries)
    ]
    return ["batch", *(["settings"] if several else []), *(f"{at:,} {axis}" for at in shown)], rows


# -- terminal ---------------------------------------------------------------------------------------------------------


def batch_lines(comparison: SweepComparison, *, details: bool = True) -> list[RenderableType]:
    """The verdict of a sweep with `batch_size: auto`; for other sweeps one line per critical batch size.

    Without `details`: the verdict in one line, and only the critical batch sizes that are determined.
    """
    verdict = comparison.batch
    if not details:
        head = [] if verdict is None else [Text(batch_size_headline(comparison.table, verdict), "bold")]
        known = any(curve.undetermined is None for curve in comparison.curves.values())
        return [*head, *(Text(line) for line in curve_lines(comparison) if known)]
    if verdict is None:
        lines = curve_lines(comparison)
        if lines and any(curve.undetermined is None for curve in comparison.curves.values()):
            lines += [f"  {doubt}" for doubt in doubts(comparison.targets)]
        return [Text(line) for line in lines]
    style = "bold green" if verdict.fastest else "bold yellow"
    parts: list[RenderableType] = [Text(batch_size_headline(comparison.table, verdict), style)]
    parts += [Text(f"  - {sentence}") for sentence in verdict_sentences(comparison.table, verdict)]
    parts += [Text(f"  - {line}") for line in curve_lines(comparison)]
    if comparison.targets:
        target = target_words(comparison.table.plan.objective)
        title = f"To {target}, interpolated between evaluations: each batch size at the rate with the fewest steps"
        grid = target_grid(comparison.evidence.tuning.table, comparison.targets)
        parts += ["", titled(title, text_table(*grid, left={"settings"}))]
    return parts


def curve_lines(comparison: SweepComparison) -> list[str]:
    """One line per critical batch size. None for a sweep with one or two batch sizes: they cannot determine it."""
    named = len(comparison.curves) > 1
    sizes = {baseline.training.batch_size for baseline in comparison.table.baselines}
    if len(sizes) < MIN_SIZES and comparison.batch is None:
        return []
    table = comparison.evidence.tuning.table
    words = [(choice_words(table, choice), curve_words(curve)) for choice, curve in comparison.curves.items()]
    return [f"{name}: {curve}" if named and name else curve for name, curve in words]


def _words(summary: Summary) -> str:
    return with_interval(summary.mean, summary.half_width)
