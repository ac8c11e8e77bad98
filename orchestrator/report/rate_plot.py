"""Learning rate against batch size: where training went well, and whether the grid was wide enough."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from orchestrator.analysis.comparison import Comparison
from orchestrator.analysis.table import Configuration, SweepTable
from orchestrator.analysis.tuning import tuned
from orchestrator.analysis.words import number
from orchestrator.report.plots import INK, Plot, batch_axis, log_axis, new_figure

FAILED, STOPPED = "✗", "-"
MAX_ROWS = 12  # rates that still leave room for a figure in every cell
COLORBAR = {"thickness": 10, "len": 0.9, "outlinewidth": 0}

Cells = dict[tuple[str, int], Configuration]  # (rate in words, batch size) -> the best of what was tried there


def rate_plot(comparison: Comparison) -> Plot:
    """The mean objective at every rate and batch size: a grid with figures, or squares where rates are many."""
    table = comparison.table
    metric, title = table.plan.objective.metric, "Learning rate and batch size"
    cells = _cells(table)
    entries = tuned(table)
    if not entries:
        return Plot(title, "", missing="No baseline has ended yet.")
    best = {entry.best.key for entry in entries}
    edges = ", ".join(f"batch {entry.batch_size} ({entry.edge})" for entry in entries if entry.edge)
    warning = f" At the edge of its grid, so the best may lie beyond: {edges}." if edges else ""
    marks = f"{FAILED} marks a trial that failed, {STOPPED} one that was stopped early"
    if len({rate for rate, _ in cells}) <= MAX_ROWS:
        figure = _grid(table, cells, best)
        caption = f"Mean {metric}; the best of each batch size is in bold, {marks}.{warning}"
    else:
        figure = _squares(table, cells, best)
        caption = f"Mean {metric}; the best of each batch size has a ring, {marks}.{warning}"
    return Plot(title, caption, figure)


def _cells(table: SweepTable) -> Cells:
    sign = 1.0 if table.plan.objective.mode == "max" else -1.0

    def score(configuration: Configuration) -> float:
        mean = _mean(table, configuration)
        return -math.inf if mean is None else sign * mean

    cells: Cells = {}
    for configuration in sorted(table.baselines, key=score):  # the best is written last
        if any(row.result for row in configuration.rows):
            training = configuration.training
            cells[f"{training.learning_rate:.4g}", training.batch_size] = configuration
    return cells


def _grid(table: SweepTable, cells: Cells, best: set[str]) -> Any:
    sizes = sorted({size for _, size in cells})
    rates = sorted({rate for rate, _ in cells}, key=float)
    figure = new_figure("batch size", "learning rate")
    figure.add_trace(
        go.Heatmap(
            x=[str(size) for size in sizes],
            y=rates,
            z=[[_mean(table, cells.get((rate, size))) for size in sizes] for rate in rates],
            text=[[_cell_text(table, cells.get((rate, size)), best) for size in sizes] for rate in rates],
            texttemplate="%{text}",
            textfont={"size": 12},
            colorscale=_scale(table),
            xgap=2,
            ygap=2,
            colorbar=COLORBAR,
            hoverinfo="skip",
        )
    )
    empty = [(str(size), rate, _mark(c)) for (rate, size), c in cells.items() if _mean(table, c) is None]  # no colour
    marks = {key: [cell[i] for cell in empty] for i, key in enumerate(("x", "y", "text"))}
    figure.add_trace(go.Scatter(mode="text", hoverinfo="skip", showlegend=False, **marks))
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=[str(size) for size in sizes])
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=rates)
    return figure


def _squares(table: SweepTable, cells: Cells, best: set[str]) -> Any:
    figure = new_figure("batch size", "learning rate")
    means = {key: mean for key, c in cells.items() if (mean := _mean(table, c)) is not None}
    empty = [key for key in cells if key not in means]
    figure.add_trace(
        go.Scatter(
            mode="markers",
            x=[size for _, size in means],
            y=[float(rate) for rate, _ in means],
            marker={
                "symbol": "square",
                "size": 12,
                "color": list(means.values()),
                "colorscale": _scale(table),
                "colorbar": COLORBAR,
                "line": {"color": INK, "width": [2 if cells[key].key in best else 0 for key in means]},
            },
            text=[f"batch {size}, rate {rate}: {number(mean)}" for (rate, size), mean in means.items()],
            hoverinfo="text",
            showlegend=False,
        )
    )
    marks = {
        "x": [size for _, size in empty],
        "y": [float(rate) for rate, _ in empty],
        "text": [_mark(cells[key]) for key in empty],
    }
    figure.add_trace(go.Scatter(mode="text", hoverinfo="skip", showlegend=False, **marks))
    batch_axis(figure, [size for _, size in cells])
    log_axis(figure, "y", [float(rate) for rate, _ in cells])
    return figure


def _mark(configuration: Configuration) -> str:
    """Why there is no figure."""
    return FAILED if configuration.broken else STOPPED


def _scale(table: SweepTable) -> str:
    """Dark is good."""
    return "Blues" if table.plan.objective.mode == "max" else "Blues_r"


def _mean(table: SweepTable, configuration: Configuration | None) -> float | None:
    summary = configuration.summary(table.plan.objective.metric) if configuration else None
    return summary.mean if summary is not None and math.isfinite(summary.mean) else None


def _cell_text(table: SweepTable, configuration: Configuration | None, best: set[str]) -> str:
    if configuration is None:
        return ""
    mean = _mean(table, configuration)
    text = ("" if mean is None else number(mean)) + (f" {FAILED}" if configuration.broken else "")
    return f"<b>{text}</b>" if configuration.key in best else text
