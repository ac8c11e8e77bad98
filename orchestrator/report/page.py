"""The comparison as one self-contained HTML page: it can be sent by mail, and opens without a network.

This module computes the values; `templates/page.html.j2` lays them out and escapes each of them, and
`templates/page.css` is the style. The page's Content-Security-Policy forbids loading anything.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from orchestrator.analysis.common_readings import train_metric
from orchestrator.analysis.comparison import SweepComparison
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.report.batch_section import curve_lines, equal_grid, target_grid
from orchestrator.report.columns import Column, training_columns, variant_columns
from orchestrator.report.plots.deployment import batch_colors, compression_symbols, deployment_plots
from orchestrator.report.plots.rates import rate_plots
from orchestrator.report.plots.training import accuracy_plot, curve_plots, speed_plot, target_plots
from orchestrator.report.terminal import (
    heading,
    legend,
    machine_sentences,
    test_words,
    training_title,
    trainings,
    warnings,
)
from orchestrator.wording.batch_size import batch_size_headline, behind_words, doubts, verdict_sentences
from orchestrator.wording.format import number, quantity, summary_words, target_words
from orchestrator.wording.goals import ending_words
from orchestrator.wording.hardware import measured_on
from orchestrator.wording.reasons import label
from orchestrator.wording.recommendation import caveats, reasons
from orchestrator.wording.runner_up import why_not

SYMBOL_SIGNS = {
    "circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "cross": "✚", "x": "✖", "star": "★",
    "hexagon": "⬢", "triangle-down": "▼", "pentagon": "⬟",
}  # fmt: skip


@dataclass(frozen=True)
class PageTable:
    """`left`: names of the columns with text; `chosen`: index of the recommended row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Collection[str] = ()
    chosen: int | None = None


def to_page(comparison: SweepComparison) -> str:
    """The whole page as HTML. The drawing library takes about 5 MB of it."""
    first, _, second = heading(comparison.table).plain.partition("\n")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            name=comparison.table.plan.name,
            heading=(first.removeprefix(f"Sweep {comparison.table.plan.name}: "), second),
            choice=_choice(comparison),
            verdict=_verdict(comparison),
            compression=_compression(comparison),
            training=_training(comparison),
            target=_target(comparison),
            equal_budget=_equal_budget(comparison),
            trials=_trials(comparison),
            plotly_js=get_plotlyjs(),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("orchestrator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure_data"] = _figure_data
    return environment


def _figure_data(figure: Any) -> Any:
    """A Plotly figure as plain lists and numbers."""
    return json.loads(figure.to_json())


# -- the values of each section ---------------------------------------------------------------------------------------


def _choice(comparison: SweepComparison) -> dict[str, Any]:
    """The recommendation, or the statement that there is none."""
    found, table = comparison.recommendation, comparison.table
    said = {"reasons": reasons(table, found), "caveats": caveats(table, found.caveats)}
    if found.row is None or found.configuration is None:
        return {"title": "No recommendation", "facts": None, "runner_up": None, "test": None, **said}
    runner_up = None
    if (second := found.runner_up) is not None:
        what = f"{label(table, second.configuration)} (trial {second.row.id})"
        runner_up = f"{what}. Why not: {why_not(table, second)}."
    return {
        "title": f"Recommended: {label(table, found.configuration)}",
        "facts": _facts(comparison, found.configuration, found.row),
        "runner_up": runner_up,
        "test": test_words(comparison),
        **said,
    }


def _facts(comparison: SweepComparison, configuration: Configuration, row: Row) -> dict[str, str]:
    objective, training = comparison.table.plan.objective.metric, configuration.training
    facts = {
        "trial": row.id,
        "batch size": str(training.batch_size),
        "learning rate": f"{training.learning_rate:.4g}",
        "precision": training.precision,
        "workers": str(training.num_workers),
    }
    if configuration.compression:
        facts["compression"] = configuration.compression
    if (summary := configuration.summary(objective)) is not None:
        facts[objective] = summary_words(objective, summary)
    if (size := configuration.summary("artifact_bytes")) is not None:
        facts["file"] = quantity("artifact_bytes", size.mean)
    for batch, latencies in comparison.evidence.latencies_ms.items():
        if (took := latencies.get(configuration.key)) is not None:
            facts[f"latency at batch {batch}"] = quantity("latency_ms", took.mean)
    return facts


def _verdict(comparison: SweepComparison) -> dict[str, Any] | None:
    """The verdict on the batch size; None for a sweep whose batch sizes were given."""
    verdict = comparison.batch
    if verdict is None:
        return None
    return {
        "title": batch_size_headline(comparison.table, verdict),
        "is_decided": bool(verdict.fastest),
        "sentences": verdict_sentences(comparison.table, verdict),
    }


def _compression(comparison: SweepComparison) -> dict[str, Any] | None:
    table = comparison.table
    if not table.variants:
        return None
    compressed = {c.training.batch_size for c in table.variants}
    shown = [c for c in table.variants if c.measured]
    return {
        "measured_on": measured_on(table.variants),
        "signs": {chain: SYMBOL_SIGNS[symbol] for chain, symbol in compression_symbols(comparison).items()},
        "colors": {size: color for size, color in batch_colors(comparison).items() if size in compressed},
        "plots": deployment_plots(comparison),
        "table": _configurations(comparison, variant_columns(comparison), shown),
        "warnings": warnings(comparison),
        "legend": legend(comparison).plain.split("\n"),
    }


def _training(comparison: SweepComparison) -> dict[str, Any] | None:
    if not comparison.table.baselines:
        return None
    plots = [*target_plots(comparison), accuracy_plot(comparison), *rate_plots(comparison), speed_plot(comparison)]
    return {
        "title": training_title(comparison),
        "table": _configurations(comparison, training_columns(comparison), trainings(comparison)),
        "notes": machine_sentences(comparison),
        "plots": plots,
        "curves": curve_plots(comparison),
    }


def _target(comparison: SweepComparison) -> dict[str, Any] | None:
    """Steps, examples, seconds and cost to the target, with the critical batch."""
    if not comparison.targets:
        return None
    return {
        "words": target_words(comparison.table.plan.objective),
        "table": PageTable(*target_grid(comparison.evidence.tuning.table, comparison.targets), left={"settings"}),
        "notes": [*curve_lines(comparison), *doubts(comparison.targets)],
    }


def _equal_budget(comparison: SweepComparison) -> dict[str, Any] | None:
    """Tables at equal examples and at equal steps, on validation and training data, to tell overfitting from too few
    steps.
    """
    grids = {
        "After equal examples (equal work)": equal_grid(comparison, "examples"),
        "After equal steps": equal_grid(comparison, "steps"),
    }
    tables = {title: PageTable(*grid, left={"settings"}) for title, grid in grids.items() if grid is not None}
    if not tables:
        return None
    metric = comparison.table.plan.objective.metric.removeprefix("best_")
    return {
        "metrics": f"{metric} / {train_metric(metric)}",
        "tables": tables,
        "sentences": [behind_words(comparison.table, found) for found in comparison.behind],
    }


def _trials(comparison: SweepComparison) -> dict[str, Any]:
    """A collapsed table of all trials. Trials of one configuration share the cells that name the configuration."""
    metric, count = comparison.table.plan.objective.metric, len(comparison.table.rows)
    groups = []
    for configuration in comparison.table.configurations:
        rows = []
        for row in configuration.rows:
            value = row.value(metric)
            figure = "-" if value is None else number(value)
            reason = ending_words(comparison.table, row) or ""
            rows.append([row.id, str(row.seed), row.status.replace("_", " "), figure, reason])
        groups.append({"kind": configuration.kind, "what": label(comparison.table, configuration), "rows": rows})
    return {
        "title": f"All {count} trials" if count > 1 else "The one trial",
        "columns": ("kind", "what", "trial", "seed", "status", metric, "reason"),
        "groups": groups,
    }


def _configurations(
    comparison: SweepComparison, columns: Sequence[Column], shown: Sequence[Configuration]
) -> PageTable:
    recommended = comparison.recommendation.configuration
    return PageTable(
        columns=[column.title for column in columns],
        rows=[[column.cell(configuration) for column in columns] for configuration in shown],
        left={column.title for column in columns if column.left},
        chosen=next((i for i, configuration in enumerate(shown) if configuration == recommended), None),
    )
