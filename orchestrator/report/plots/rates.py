"""The plot of learning rate against batch size: it shows the best ones, and whether the grid was wide enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from orchestrator.analysis.comparison import SweepComparison
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.rows import Configuration
from orchestrator.analysis.table import SweepTable
from orchestrator.report.plots.deployment import INK, Plot, batch_axis, log_axis, new_figure
from orchestrator.report.plots.series_style import by_choice
from orchestrator.sweep.metrics import sign_of
from orchestrator.wording.format import number

FAILED_MARK, STOPPED = "✗", "-"
MAX_PLOT_ROWS = 12  # with more learning rates, figures no longer fit into the cells
TITLE = "Learning rate and batch size"
COLORBAR = {"thickness": 10, "len": 0.9, "outlinewidth": 0}

Cells = dict[tuple[str, int], Configuration]  # (learning rate as text, batch size) -> the best configuration there


def rate_plots(comparison: SweepComparison) -> list[Plot]:
    """The mean objective at every learning rate and batch size, one plot per choice of the other settings.

    A grid with figures, or coloured squares if there are many learning rates.
    """
    table = comparison.table
    if not comparison.evidence.tuned:
        return [Plot("learning_rate", TITLE, "", missing="No baseline has ended yet.")]
    tried = [c for c in table.baselines if any(row.result for row in c.rows)]
    return [
        _rate_plot(comparison.evidence, look.choice, _cells(table, group))
        for look, group in by_choice(comparison.evidence, tried, lambda c: c)
    ]


def _rate_plot(evidence: Evidence, choice: str, cells: Cells) -> Plot:
    """`choice`: the other settings as text; empty if nothing else is varied."""
    table, keys = evidence.table, {c.key for c in cells.values()}
    entries = [entry for entry in evidence.tuned if entry.best.key in keys]
    best = {entry.best.key for entry in entries}
    edges = ", ".join(f"batch {entry.batch_size} ({entry.edge})" for entry in entries if entry.edge)
    warning = f" At the edge of its grid, so the best may lie beyond: {edges}." if edges else ""
    marks = f"{FAILED_MARK} marks a trial that failed, {STOPPED} one that was stopped early"
    metric = table.plan.objective.metric
    if len({rate for rate, _ in cells}) <= MAX_PLOT_ROWS:
        figure = _grid(table, cells, best)
        caption = f"Mean {metric}; the best of each batch size is in bold, {marks}.{warning}"
    else:
        figure = _squares(table, cells, best)
        caption = f"Mean {metric}; the best of each batch size has a ring, {marks}.{warning}"
    figure.update_layout(coloraxis=_color_axis(table))
    name, title = (f"{start}, {choice}" if choice else start for start in ("learning_rate", TITLE))
    return Plot(name, title, caption, figure)


def _cells(table: SweepTable, configurations: Sequence[Configuration]) -> Cells:
    sign = sign_of(table.plan.objective.mode)

    def score(configuration: Configuration) -> float:
        mean = _mean(table, configuration)
        return -math.inf if mean is None else sign * mean

    cells: Cells = {}
    for configuration in sorted(configurations, key=score):  # the best comes last, so it overwrites the others
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
            coloraxis="coloraxis",
            xgap=2,
            ygap=2,
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
                "coloraxis": "coloraxis",
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
    """The mark that says why a cell has no figure."""
    return FAILED_MARK if configuration.broken else STOPPED


def _color_axis(table: SweepTable) -> dict[str, Any]:
    """The colour scale: dark is good. All plots share its limits, so that colours can be compared."""
    means = [mean for c in table.baselines if (mean := _mean(table, c)) is not None]
    limits = {"cmin": min(means), "cmax": max(means)} if table.settings and len(set(means)) > 1 else {}
    scale = "Blues" if table.plan.objective.mode == "max" else "Blues_r"
    return {"colorscale": scale, "colorbar": COLORBAR, **limits}


def _mean(table: SweepTable, configuration: Configuration | None) -> float | None:
    summary = configuration.summary(table.plan.objective.metric) if configuration else None
    return summary.mean if summary is not None and math.isfinite(summary.mean) else None


def _cell_text(table: SweepTable, configuration: Configuration | None, best: set[str]) -> str:
    if configuration is None:
        return ""
    mean = _mean(table, configuration)
    text = ("" if mean is None else number(mean)) + (f" {FAILED_MARK}" if configuration.broken else "")
    return f"<b>{text}</b>" if configuration.key in best else text
