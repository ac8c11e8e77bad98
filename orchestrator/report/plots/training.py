"""The plots of training: steps, examples and seconds to the target, objective against batch size, learning curves."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from orchestrator.analysis.comparison import SweepComparison
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.analysis.statistics import Summary
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import ToTarget
from orchestrator.analysis.tuned_rates import Tuned
from orchestrator.report.plots.deployment import (
    FAINT,
    INK,
    Plot,
    batch_axis,
    batch_colors,
    error_bars,
    extent,
    log_axis,
    new_figure,
)
from orchestrator.report.plots.series_style import SeriesStyle, by_choice, name_choices
from orchestrator.sweep.metrics import sign_of
from orchestrator.wording.batch_size import curve_words
from orchestrator.wording.format import summary_words
from orchestrator.wording.reasons import label
from trainables.results import Report

FIXED_RATES = 3  # most curves at a fixed learning rate; more would be hard to read


def target_plots(comparison: SweepComparison) -> list[Plot]:
    """Steps, examples and seconds to the target against batch size, each at the learning rate with the fewest steps."""
    objective = comparison.table.plan.objective
    if objective.target is None:
        missing = "The sweep's objective has no target; with `target:` the page shows the effort to reach it."
        return [Plot("steps_to_target", "Training to the target", "", missing=missing)]
    names = {"steps": "steps", "examples": "examples seen", "seconds": "seconds of training"}
    if len({row.num_workers for row in comparison.targets}) > 1:
        names["worker_seconds"] = "worker-seconds of training"
    title = f"{{}} to {objective.metric} {objective.target:g}"
    if not comparison.targets:
        missing = f"No trial reached {objective.metric} {objective.target:g}."
        return [Plot("steps_to_target", title.format("Training"), "", missing=missing)]
    return [_target_plot(comparison, title.format(words.capitalize()), kind, words) for kind, words in names.items()]


def _target_plot(comparison: SweepComparison, title: str, kind: str, words: str) -> Plot:
    rows, tuning = comparison.targets, comparison.evidence.tuning
    figure = new_figure("batch size", words)
    batch_axis(figure, [row.batch_size for row in rows])
    log_axis(figure, "y", [value for row in rows for value in extent(getattr(row, kind))])
    groups = by_choice(tuning, rows, lambda row: row.configuration)
    for look, group in groups:
        figure.add_trace(_target_markers(tuning.table, look, group, kind, words))
    name_choices(figure, [look for look, _ in groups])
    caption = "Each batch size at the learning rate that needs the fewest steps there. " + (
        ""
        if all(row.is_whole for row in rows)
        else "Open: not every seed reached the target, and the mean is over those that did. "
    )
    theory = _add_theory(figure, comparison, groups) if kind == "steps" else ""
    return Plot(f"{kind}_to_target", title, caption + theory, figure)


def _target_markers(table: SweepTable, look: SeriesStyle, rows: Sequence[ToTarget], kind: str, words: str) -> Any:
    summaries: list[Summary] = [getattr(row, kind) for row in rows]
    return go.Scatter(
        name=look.name("measured"),
        legendgroup=look.choice or None,
        mode="markers",
        x=[row.batch_size for row in rows],
        y=[summary.mean for summary in summaries],
        error_y=error_bars(summaries, color=look.color if look.choice else FAINT),
        marker={
            "size": 10,
            "color": look.color,
            "symbol": ["circle" if row.is_whole else "circle-open" for row in rows],
        },
        text=[
            f"{html.escape(label(table, row.configuration))}: {summary_words('', s)} {words}<br>"
            f"{len(row.crossings)} of {row.seeds} seeds reached it"
            for row, s in zip(rows, summaries, strict=True)
        ],
        hoverinfo="text",
    )


def _add_theory(
    figure: Any, comparison: SweepComparison, groups: Sequence[tuple[SeriesStyle, Sequence[ToTarget]]]
) -> str:
    """Add the 1/B line of perfect scaling and the fitted curve of each choice; return the caption about them.

    The legend names each choice once, with its markers; for a sweep with a single choice it names the lines.
    """
    tuning = comparison.evidence.tuning
    for look, rows in groups:
        sizes = [row.batch_size for row in rows]
        shared = {
            "mode": "lines",
            "hoverinfo": "skip",
            "legendgroup": look.choice or None,
            "showlegend": not look.choice,
        }
        line = {"color": look.color if look.choice else FAINT, "width": 1, "dash": "dash"}
        ideal = [rows[0].steps.mean * sizes[0] / size for size in sizes]
        figure.add_trace(go.Scatter(name="1/B", x=sizes, y=ideal, line=line, **shared))
        curve = comparison.curves[tuning.choices[tuning.table.place_of(rows[0].configuration)]]
        if curve.undetermined is None:
            grid = [sizes[0] * (sizes[-1] / sizes[0]) ** (i / 40) for i in range(41)]
            steps = [curve.steps(size) for size in grid]
            figure.add_trace(go.Scatter(name=look.name("fit"), x=grid, y=steps, line={"color": look.color}, **shared))
    dashed = "Dashed: perfect scaling (twice the batch, half the steps). "
    if len(groups) > 1:  # their critical batches are listed above the plots, one by one
        return f"{dashed}Solid: the fit, if the critical batch size is determined."
    return dashed + " ".join(map(curve_words, comparison.curves.values()))  # the legend names the choice


def accuracy_plot(comparison: SweepComparison) -> Plot:
    """The objective against batch size, tuned and at fixed learning rates, on validation and training data."""
    table = comparison.table
    metric = table.plan.objective.metric
    entries, title = comparison.evidence.tuned, f"{metric} against batch size"
    if not entries:
        return Plot("objective", title, "", missing="No baseline has ended yet.")
    figure = new_figure("batch size", metric)
    batch_axis(figure, [entry.batch_size for entry in entries])
    train_metric = metric.replace("val_", "train_", 1)
    groups = by_choice(comparison.evidence, [entry.best for entry in entries], lambda c: c)
    for look, best in groups:
        if train_metric != metric:
            figure.add_trace(_training_line(table, look, best, train_metric))
        line = {"color": look.color, "width": 2.5, "dash": look.dash}
        figure.add_trace(_line(table, look.name("validation, best rate"), best, metric, line, look.choice))
    name_choices(figure, [look for look, _ in groups])
    tuned_words = "Tuned: the best learning rate tried at each batch size. Bars are 95 % intervals. "
    if table.settings:
        faint = "" if train_metric == metric else "Thin: on training data. "
        return Plot(
            "objective",
            title,
            f"{tuned_words}{faint}No curve has a fixed learning rate, as other settings vary.",
            figure,
        )
    fixed = _fixed_rates(table)
    for index, (rate, group) in enumerate(fixed):
        line = {"color": ("#c05621", "#b7791f", "#975a16")[index % 3], "width": 1.2, "dash": "dash"}
        figure.add_trace(_line(table, f"validation, rate {rate:.4g}", group, metric, line))
    caption = tuned_words + (
        "A dashed line keeps one learning rate: it mixes the effects of the batch size and of a poor learning rate."
        if fixed
        else "No learning rate was tried at several batch sizes, so there is no curve at a fixed learning rate."
    )
    return Plot("objective", title, caption, figure)


def _training_line(table: SweepTable, look: SeriesStyle, group: Sequence[Configuration], metric: str) -> Any:
    """Add the training-data line of a choice, in the legend together with its validation line, if there are several."""
    if not look.choice:
        return _line(table, "training data", group, metric, {"color": FAINT, "dash": "dot"})
    trace = _line(
        table, look.name(""), group, metric, {"color": look.color, "width": 1, "dash": look.dash}, look.choice
    )
    return trace.update(showlegend=False, opacity=0.5)


def _line(
    table: SweepTable, name: str, group: Sequence[Configuration], metric: str, line: dict[str, Any], choice: str = ""
) -> Any:
    """A line of one figure over batch sizes. The name may contain markup."""
    pairs = [(c, s) for c in group if (s := c.summary(metric)) is not None]
    return go.Scatter(
        name=name,
        legendgroup=choice or None,
        mode="lines+markers",
        x=[c.training.batch_size for c, _ in pairs],
        y=[s.mean for _, s in pairs],
        error_y=error_bars([s for _, s in pairs], color=line["color"] if choice else FAINT),
        line=line,
        text=[f"{html.escape(label(table, c))}: {s.mean:.4g}" for c, s in pairs],
        hoverinfo="text",
    )


def _fixed_rates(table: SweepTable) -> list[tuple[float, list[Configuration]]]:
    """Learning rates tried at several batch sizes, those with the most sizes first; one configuration per size."""
    metric, sign = table.plan.objective.metric, sign_of(table.plan.objective.mode)
    groups: dict[str, dict[int, tuple[float, Configuration]]] = defaultdict(dict)
    for c in table.baselines:
        if (summary := c.summary(metric)) is not None:
            group, size = groups[f"{c.training.learning_rate:.6g}"], c.training.batch_size
            score = sign * summary.mean
            if size not in group or score > group[size][0]:
                group[size] = (score, c)
    several = [(float(rate), [group[size][1] for size in sorted(group)]) for rate, group in groups.items()]
    several = [(rate, group) for rate, group in several if len(group) > 1]
    return sorted(several, key=lambda pair: (-len(pair[1]), pair[0]))[:FIXED_RATES]


def curve_plots(comparison: SweepComparison) -> list[Plot]:
    """Learning curves at each batch size's best learning rate, by examples (equal work) and steps (equal updates)."""
    entries = comparison.evidence.tuned
    metric = comparison.table.plan.objective.metric.removeprefix("best_")  # the curve shows every evaluation
    steps = [r.step for e in entries for r in _readings(e.best.measured, metric)]
    titles = {"examples": "Learning curves by examples seen", "step": "Learning curves by optimiser steps"}
    plots = []
    for field, title in titles.items():
        name = "curves_by_examples" if field == "examples" else "curves_by_steps"
        if not steps:
            plots.append(Plot(name, title, "", missing="No baseline has ended yet."))
            continue
        words = "examples seen" if field == "examples" else "steps"
        figure = new_figure(words, metric)
        if field == "step":
            log_axis(figure, "x", steps)
        colors, groups = batch_colors(comparison), by_choice(comparison.evidence, entries, lambda entry: entry.best)
        for look, group in groups:
            for entry in group:
                _add_curves(figure, look, entry, field, metric, colors[entry.batch_size])
        _name_curves(figure, [look for look, _ in groups])
        target = comparison.table.plan.objective.target
        if target is not None:
            figure.add_hline(y=target, line={"color": FAINT, "width": 1, "dash": "dot"})
        plots.append(
            Plot(name, title, "One line per seed, each batch size at its best learning rate, validation data.", figure)
        )
    return plots


def _add_curves(figure: Any, look: SeriesStyle, entry: Tuned, field: str, metric: str, color: str) -> None:
    """A line for each seed, as one series with gaps: a thousand separate series would make the page too large."""
    x: list[float | None] = []
    y: list[float | None] = []
    seeds_and_steps: list[tuple[int, int] | None] = []
    for row in entry.best.measured:
        readings, gap = _readings([row], metric), [None] if x else []
        x += [*gap, *(getattr(report, field) for report in readings)]
        y += [*gap, *(float(f"{report.metrics[metric]:.6g}") for report in readings)]
        seeds_and_steps += [*gap, *((row.seed, report.step) for report in readings)]
    choice = f"{html.escape(look.choice)}, " if look.choice else ""
    figure.add_trace(
        go.Scatter(
            name=f"batch {entry.batch_size}",
            legendgroup=str(entry.batch_size),
            showlegend=False,
            mode="lines",
            x=x,
            y=y,
            line={"color": color, "width": 1.6, "dash": look.dash},
            customdata=seeds_and_steps,
            hovertemplate=f"{choice}seed %{{customdata[0]}}, %{{customdata[1]:,}} steps: %{{y:.4g}}",
        )
    )


def _name_curves(figure: Any, looks: Sequence[SeriesStyle]) -> None:
    """The legend: every colour once, and every dash once if there are several."""
    for trace in {trace.legendgroup: trace for trace in reversed(figure.data)}.values():
        trace.showlegend = True
    if len(looks) > 1:
        for look in looks:
            line = {"color": INK, "width": 1.6, "dash": look.dash}
            figure.add_trace(go.Scatter(name=look.name(""), mode="lines", x=[None], y=[None], line=line))
    name_choices(figure, looks)


def _readings(rows: Sequence[Row], metric: str) -> list[Report]:
    return [report for row in rows if row.result for report in row.result.history if metric in report.metrics]


def speed_plot(comparison: SweepComparison) -> Plot:
    """Examples per second against batch size."""
    title, metric = "Throughput against batch size", "examples_per_second"
    best = [entry.best for entry in comparison.evidence.tuned]
    pairs = [(c, s) for c in best if (s := c.summary(metric)) is not None]
    if not pairs:
        return Plot(metric, title, "", missing="No throughput has been measured yet.")
    figure = new_figure("batch size", "examples per second of training")
    log_axis(figure, "y", [value for _, s in pairs for value in extent(s)])
    batch_axis(figure, [c.training.batch_size for c, _ in pairs])
    groups = by_choice(comparison.evidence, [c for c, _ in pairs], lambda c: c)
    for look, group in groups:
        line = {"color": look.color, "dash": look.dash}
        figure.add_trace(_line(comparison.table, look.name("measured"), group, metric, line, look.choice))
    name_choices(figure, [look for look, _ in groups])
    return Plot(
        metric,
        title,
        "Seconds are training time without evaluations. Trials that ran at the same time share the machine.",
        figure,
    )
