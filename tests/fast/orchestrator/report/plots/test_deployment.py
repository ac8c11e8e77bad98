"""Axes that can be read: whatever the values are, a few plain numbers stand beside them."""

from __future__ import annotations

from itertools import groupby

import pytest

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.table import make_table
from orchestrator.report.plots.deployment import log_axis, new_figure
from orchestrator.report.plots.training import curve_plots
from orchestrator.sweep.spec import Objective
from tests.support.sample_sweep import sample_plan, sample_results


def ticks_within(low: float, high: float) -> list[float]:
    figure = new_figure("latency, ms", "accuracy")
    log_axis(figure, "x", [low, high])
    return [tick for tick in figure.layout.xaxis.tickvals if low <= tick <= high]


@pytest.mark.parametrize(("low", "high"), [(0.311, 0.339), (10_100, 12_900), (0.97, 1.03)])
def test_a_narrow_range_has_ticks_too(low: float, high: float) -> None:
    assert 1 <= len(ticks_within(low, high)) <= 9


def test_of_two_near_ticks_the_rounder_is_kept() -> None:
    assert ticks_within(0.0955, 0.125) == pytest.approx([0.096, 0.1, 0.12])  # and not 0.098, on top of 0.1


@pytest.mark.parametrize("value", [0.297, 1.0, 5.05e8])
def test_one_value_alone_is_no_reason_for_a_hundred_ticks(value: float) -> None:
    figure = new_figure("latency, ms", "accuracy")
    log_axis(figure, "x", [value, value])
    assert len(figure.layout.xaxis.tickvals) < 12


def test_ticks_are_written_plainly() -> None:
    figure = new_figure("latency, ms", "accuracy")
    log_axis(figure, "x", [0.269, 0.375])
    assert {"0.28", "0.3", "0.36"} <= set(figure.layout.xaxis.ticktext)


def test_learning_curves_of_a_best_figure_are_those_of_its_readings() -> None:
    objective = Objective(metric="best_val_accuracy", mode="max")
    plan = sample_plan(goals=(), chains=()).model_copy(update={"objective": objective})
    results = {result.id: result for result in sample_results(plan)}
    by_examples, by_steps = curve_plots(compare(make_table(plan, results)))
    for plot in (by_examples, by_steps):
        assert len(plot.figure.data) == 3  # batch sizes
        for lines in plot.figure.data:  # one for each of three seeds, with gaps between them
            assert [len(list(line)) for gap, line in groupby(lines.y, lambda y: y is None) if not gap] == [10] * 3


def test_without_a_reading_there_is_no_curve() -> None:
    plan = sample_plan(goals=(), chains=())
    results = {r.id: r.model_copy(update={"history": ()}) for r in sample_results(plan)}
    assert [plot.figure for plot in curve_plots(compare(make_table(plan, results)))] == [None, None]
