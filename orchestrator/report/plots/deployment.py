"""The plots of the page as Plotly figures; each has a sentence to show instead if there is nothing to plot.

Colour stands for the batch size, light to dark with size, unless an axis does (see `series_style`); the marker always
stands for the compression.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from orchestrator.analysis.comparison import SweepComparison
from orchestrator.analysis.pareto import front
from orchestrator.analysis.rows import Configuration
from orchestrator.analysis.statistics import Summary
from orchestrator.wording.format import summary_words, unit_of
from orchestrator.wording.reasons import label

MARKER_SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "x",
    "star",
    "hexagon",
    "triangle-down",
    "pentagon",
)
INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
HEIGHT = 340  # pixels
MAX_BATCH_TICKS = 9
TICK_ROOM = 1 / 10  # least distance of ticks as a share of the axis: closer ones would overlap
TICKS = (  # leading digits, ever finer
    *((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    *(tuple(tenths / 10 for tenths in range(10, 100, step)) for step in (10, 5, 2, 1)),
)


@dataclass(frozen=True)
class Plot:
    """One plot of the page. `figure` is None when there is nothing to draw; `missing` then says why."""

    name: str  # its name in Python: `Comparison.plot(name)`
    title: str
    caption: str
    figure: Any = None
    missing: str = ""


def batch_colors(comparison: SweepComparison) -> dict[int, str]:
    """Batch size -> colour."""
    sizes = sorted({row.config.training.batch_size for row in comparison.table.rows})
    at = [0.5] if len(sizes) == 1 else [0.9 - 0.85 * i / (len(sizes) - 1) for i in range(len(sizes))]
    return dict(zip(sizes, sample_colorscale("Viridis", at), strict=True))


def compression_symbols(comparison: SweepComparison) -> dict[str, str]:
    """Compression -> marker. With more methods than markers, markers are used again."""
    chains = list(dict.fromkeys(c.compression for c in comparison.table.variants))
    return {chain: MARKER_SYMBOLS[index % len(MARKER_SYMBOLS)] for index, chain in enumerate(chains)}


def deployment_plots(comparison: SweepComparison) -> list[Plot]:
    """The objective against the costs of using the model (latency, file size): one plot per cost."""
    table = comparison.table
    costs = {
        (f"latency_ms_batch_{batch}", f"latency at batch {batch}, ms"): latencies
        for batch, latencies in comparison.evidence.latencies_ms.items()
    }
    sizes = {c.key: size for c in table.variants if (size := c.summary("artifact_bytes")) is not None}
    costs["artifact_bytes", "file size, kB"] = sizes
    return [_deployment_plot(comparison, metric, axis, figures) for (metric, axis), figures in costs.items()]


def _deployment_plot(comparison: SweepComparison, cost: str, axis: str, costs: Mapping[str, Summary]) -> Plot:
    objective = comparison.table.plan.objective
    title = f"{objective.metric} against {axis.partition(',')[0]}"
    pairs = [(c, c.summary(objective.metric), costs.get(c.key)) for c in comparison.table.variants]
    points = {c.key: (c, y, x) for c, y, x in pairs if y is not None and x is not None and x.mean > 0}
    if not points:
        return Plot(cost, title, "", missing="No compressed model has been measured, so there is nothing to plot here.")
    figure = new_figure(axis, objective.metric)
    log_axis(figure, "x", [value / unit_of(cost)[0] for _, _, x in points.values() for value in extent(x)])
    _add_front(figure, comparison, points, cost)
    symbols, colors = compression_symbols(comparison), batch_colors(comparison)
    for chain, symbol in symbols.items():
        group = [point for point in points.values() if point[0].compression == chain]
        if group:
            figure.add_trace(_markers(comparison, chain, symbol, colors, group, cost))
    _point_at_chosen(figure, comparison, points, cost)
    better = "upper" if objective.mode == "max" else "lower"
    caption = (
        f"The {better} left corner is best. The line is the Pareto front of these two figures; a ring marks the Pareto "
        "front over objective, size and latencies. Bars are 95 % intervals."
    )
    return Plot(cost, title, caption, figure)


Points = Mapping[str, tuple[Configuration, Summary, Summary]]  # key -> configuration, objective, cost


def _markers(
    comparison: SweepComparison,
    chain: str,
    symbol: str,
    colors: Mapping[int, str],
    group: Sequence[tuple[Configuration, Summary, Summary]],
    cost: str,
) -> Any:
    divisor, objective = unit_of(cost)[0], comparison.table.plan.objective.metric
    ringed = [c.key in comparison.front for c, _, _ in group]
    return go.Scatter(
        name=html.escape(chain),
        mode="markers",
        x=[x.mean / divisor for _, _, x in group],
        y=[y.mean for _, y, _ in group],
        error_x=error_bars([x for _, _, x in group], divisor),
        error_y=error_bars([y for _, y, _ in group]),
        marker={
            "symbol": symbol,
            "size": 11,
            "color": [colors[c.training.batch_size] for c, _, _ in group],
            "line": {"color": INK, "width": [2 if ring else 0 for ring in ringed]},
        },
        text=[
            "<br>".join(
                html.escape(line)
                for line in (
                    label(comparison.table, c),
                    f"{objective} {summary_words(objective, y)}",
                    f"{cost} {summary_words(cost, x)}",
                )
            )
            for c, y, x in group
        ],
        hoverinfo="text",
        showlegend=False,
    )


def _add_front(figure: Any, comparison: SweepComparison, points: Points, cost: str) -> None:
    """The staircase line of the Pareto front in these two figures."""
    mode, divisor = comparison.table.plan.objective.mode, unit_of(cost)[0]
    pairs = [(x.mean / divisor, y.mean) for _, y, x in points.values() if math.isfinite(x.mean + y.mean)]
    steps = sorted(pairs[index] for index in front(pairs, ["min", mode]))
    if len(steps) > 1:
        xs, ys = zip(*steps, strict=True)
        line = {"color": FAINT, "width": 1.5, "dash": "dot", "shape": "hv"}
        figure.add_trace(go.Scatter(x=xs, y=ys, mode="lines", line=line, hoverinfo="skip", showlegend=False))


def _point_at_chosen(figure: Any, comparison: SweepComparison, points: Points, cost: str) -> None:
    chosen = comparison.recommendation.configuration
    if chosen is None or chosen.key not in points:
        return
    _, y, x = points[chosen.key]
    figure.add_annotation(
        x=math.log10(x.mean / unit_of(cost)[0]),  # annotations on a logarithmic axis are placed by exponent
        y=y.mean,
        text="recommended",
        showarrow=True,
        arrowhead=2,
        ax=30,
        ay=45,
        font={"color": INK, "size": 12},
        bgcolor="rgba(255,255,255,0.8)",
    )


# -- shared -----------------------------------------------------------------------------------------------------------


def new_figure(x_title: str, y_title: str) -> Any:
    """An empty figure in the page's style. Titles are plain text, not markup."""
    figure = go.Figure()
    look = {"gridcolor": GRID, "linecolor": FAINT, "ticks": "outside", "tickcolor": FAINT}
    axis = {**look, "zeroline": False, "automargin": True}
    figure.update_layout(
        template="none",
        height=HEIGHT,
        margin={"l": 62, "r": 14, "t": 14, "b": 48},
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(title={"text": html.escape(x_title), "standoff": 8}, **axis)
    figure.update_yaxes(title={"text": html.escape(y_title), "standoff": 8}, **axis)
    return figure


def error_bars(summaries: Sequence[Summary], divisor: float = 1.0, color: str = FAINT) -> dict[str, Any]:
    """Error bars in Plotly's form; they may be asymmetric. A figure without an interval has no bar."""

    def length(end: float | None, mean: float, sign: int) -> float:
        return 0.0 if end is None or not math.isfinite(end) else max(0.0, sign * (end - mean)) / divisor

    return {
        "type": "data",
        "symmetric": False,
        "array": [length(s.high, s.mean, 1) for s in summaries],
        "arrayminus": [length(s.low, s.mean, -1) for s in summaries],
        "thickness": 1,
        "width": 3,
        "color": color,
    }


def extent(summary: Summary) -> list[float]:
    """The values that must fit on a logarithmic axis: each mean, and the ends of its bar."""
    ends = (end for end in (summary.low, summary.high) if end is not None and math.isfinite(end) and end > 0)
    return [summary.mean, *ends]


def log_axis(figure: Any, axis: str, values: Sequence[float]) -> None:
    """A logarithmic axis ("x" or "y") with plain ticks: powers of ten, and finer ones if these are fewer than three."""
    low, high = min(values), max(values)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    found = [[digit * 10.0**decade for decade in decades for digit in digits] for digits in TICKS]
    around = [tick for tick in found[-1] if low / 1.3 <= tick <= high * 1.3] if high > low else found[1]
    thin = [_apart(ticks, (high / low) ** TICK_ROOM) for ticks in found]
    ticks = next((ticks for ticks in thin if sum(low <= tick <= high for tick in ticks) >= 3), around)
    settings = {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.10g}" for tick in ticks]}
    (figure.update_xaxes if axis == "x" else figure.update_yaxes)(**settings)


def _apart(ticks: Sequence[float], ratio: float) -> list[float]:
    """Drop ticks that are closer than a ratio, starting from the top: 0.1 is kept, and 0.098 is dropped."""
    kept: list[float] = []
    for tick in reversed(ticks):
        if not kept or tick * ratio <= kept[0]:
            kept.insert(0, tick)
    return kept


def batch_axis(figure: Any, sizes: Sequence[int]) -> None:
    """A logarithmic axis of batch sizes, with ticks at the sizes that were tried, as far as they fit."""
    tried = sorted(set(sizes))
    room = (tried[-1] / tried[0]) ** (1 / MAX_BATCH_TICKS)
    ticks = [tried[0]]
    for size in tried[1:]:
        if size >= ticks[-1] * room:
            ticks.append(size)
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[str(size) for size in ticks])
