"""The findings about the batch size for a person: lines and a table in the terminal, sections of the page."""

from __future__ import annotations

import html
from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from orchestrator.analysis.common_readings import Axis, mean_at, train_metric
from orchestrator.analysis.comparison import Comparison
from orchestrator.analysis.critical_batch import MIN_SIZES
from orchestrator.analysis.format import number, target_words, with_interval
from orchestrator.analysis.statistics import Summary
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import ToTarget
from orchestrator.report.tables import text_table, titled
from orchestrator.sweep.labels import settings_words
from orchestrator.wording.batch_size import behind_words, choice_words, curve_words, doubts, headline, verdict_sentences

SHOWN_CHECKPOINTS = 6  # columns of a table on the page
Grid = tuple[Sequence[str], Sequence[Sequence[str]]]  # heads, rows


def target_grid(table: SweepTable, rows: Sequence[ToTarget]) -> Grid:
    """What each batch size took, at the rate with the fewest steps."""
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


def equal_grid(comparison: Comparison, axis: Axis) -> Grid | None:
    """Validation / training at common checkpoints, each batch size at its best rate; None with nothing to compare."""
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


def batch_lines(comparison: Comparison, *, details: bool = True) -> list[RenderableType]:
    """The verdict where the batch size was to be found; else one line per critical batch that was looked for.

    Without the details: the verdict in one line, and the critical batches that are determined.
    """
    verdict = comparison.batch
    if not details:
        head = [] if verdict is None else [Text(headline(comparison.table, verdict), "bold")]
        known = any(curve.undetermined is None for curve in comparison.curves.values())
        return [*head, *(Text(line) for line in _curve_lines(comparison) if known)]
    if verdict is None:
        lines = _curve_lines(comparison)
        if lines and any(curve.undetermined is None for curve in comparison.curves.values()):
            lines += [f"  {doubt}" for doubt in doubts(comparison.targets)]
        return [Text(line) for line in lines]
    style = "bold green" if verdict.fastest else "bold yellow"
    parts: list[RenderableType] = [Text(headline(comparison.table, verdict), style)]
    parts += [Text(f"  - {sentence}") for sentence in verdict_sentences(comparison.table, verdict)]
    parts += [Text(f"  - {line}") for line in _curve_lines(comparison)]
    if comparison.targets:
        target = target_words(comparison.table.plan.objective)
        title = f"To {target}, between readings: each at the rate with the fewest steps"
        grid = target_grid(comparison.evidence.tuning.table, comparison.targets)
        parts += ["", titled(title, text_table(*grid, left={"settings"}))]
    return parts


def _curve_lines(comparison: Comparison) -> list[str]:
    """A sweep that tried one or two batch sizes has asked no such question."""
    named = len(comparison.curves) > 1
    sizes = {baseline.training.batch_size for baseline in comparison.table.baselines}
    if len(sizes) < MIN_SIZES and comparison.batch is None:
        return []
    table = comparison.evidence.tuning.table
    words = [(choice_words(table, choice), curve_words(curve)) for choice, curve in comparison.curves.items()]
    return [f"{name}: {curve}" if named and name else curve for name, curve in words]


# -- page -------------------------------------------------------------------------------------------------------------


def batch_html(comparison: Comparison) -> list[str]:
    """The verdict on top of the page's training half; nothing for a sweep whose batch sizes were given."""
    verdict = comparison.batch
    if verdict is None:
        return []
    none = "" if verdict.fastest else " none"
    sentences = verdict_sentences(comparison.table, verdict)
    return [
        f'<section class="card choice{none}"><h2>{html.escape(headline(comparison.table, verdict))}</h2>',
        *_items(sentences),
        "</section>",
    ]


def target_html(comparison: Comparison) -> list[str]:
    """Steps, examples, seconds and cost to the target, with the critical batch."""
    if not comparison.targets:
        return []
    notes = [*_curve_lines(comparison), *doubts(comparison.targets)]
    target = html.escape(target_words(comparison.table.plan.objective))
    return [
        f"<h2>To {target}: each batch size at the rate with the fewest steps</h2>",
        *_html_table(target_grid(comparison.evidence.tuning.table, comparison.targets)),
        '<p class="soft">Between two readings, on a straight line. ±: 95 % over seeds. ! at a rate: an end of those '
        "tried. Worker-seconds: seconds times workers, what it costs.</p>",
        *_items(notes),
    ]


def fair_html(comparison: Comparison) -> list[str]:
    """Equal examples beside equal steps, validation beside training data: overfitting, or fewer steps?"""
    parts: list[str] = []
    for axis, title in (("examples", "After equal examples (equal work)"), ("steps", "After equal steps")):
        grid = equal_grid(comparison, "examples" if axis == "examples" else "steps")
        if grid is not None:
            parts += [f"<h3>{title}</h3>", *_html_table(grid)]
    if not parts:
        return []
    metric = comparison.table.plan.objective.metric.removeprefix("best_")
    names = f"{html.escape(metric)} / {html.escape(train_metric(metric))}"
    sentences = [behind_words(comparison.table, found) for found in comparison.behind]
    return [
        "<h2>Overfitting, or fewer steps?</h2>",
        f'<p class="soft">{names}, mean over seeds, each at its best rate; -: not read there.</p>',
        *parts,
        *_items(sentences),
    ]


def _items(sentences: Sequence[str]) -> list[str]:
    return ["<ul>", *(f"<li>{html.escape(sentence)}</li>" for sentence in sentences), "</ul>"] if sentences else []


def _html_table(grid: Grid) -> list[str]:
    heads = "".join(f"<th>{html.escape(head)}</th>" for head in grid[0])
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in grid[1])
    return [f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>']


def _words(summary: Summary) -> str:
    return with_interval(summary.mean, summary.half_width)
