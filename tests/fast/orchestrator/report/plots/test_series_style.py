"""A sweep that varies other settings too: no plot draws two choices of them as one, and each says which it is."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.analysis.comparison import SweepComparison, compare
from orchestrator.analysis.plan_file import StoredPlan
from orchestrator.analysis.table import make_table
from orchestrator.report.plots.deployment import HEIGHT, INK, Plot
from orchestrator.report.plots.rates import rate_plots
from orchestrator.report.plots.series_style import COLORS, SeriesStyle, by_choice
from orchestrator.report.plots.training import accuracy_plot, curve_plots, speed_plot, target_plots
from tests.support.sample_sweep import baseline_result, sample_plan
from trainables.config.optimizers import AdamW, Sgd
from trainables.config.trial import trial_id

SIZES, SEEDS = [8, 32, 128], 3
HOSTILE = "<b>"
CHOICES = [f"{norm}, {optimizer}" for norm in ("group", HOSTILE) for optimizer in ("sgd", "adamw weight_decay=0.1")]
ESCAPED = [choice.replace(HOSTILE, "&lt;b&gt;") for choice in CHOICES]


def varied() -> StoredPlan:
    """The sample at two options of the task and two optimisers."""
    plan = sample_plan(chains=(), goals=())
    trials = []
    for norm in ("group", HOSTILE):
        for optimizer in (Sgd(momentum=0.9), AdamW(weight_decay=0.1)):
            for trial in plan.trials:
                task = trial.config.task.model_copy(update={"options": {"norm": norm}})
                training = trial.config.training.model_copy(update={"optimizer": optimizer})
                config = trial.config.model_copy(update={"task": task, "training": training})
                trials.append(trial.model_copy(update={"config": config, "id": trial_id(config)}))
    return plan.model_copy(update={"trials": tuple(trials)})


@pytest.fixture(scope="module")
def comparison() -> SweepComparison:
    plan = varied()
    return compare(make_table(plan, {trial.id: baseline_result(trial) for trial in plan.trials}))


@pytest.fixture(scope="module")
def plain() -> SweepComparison:
    plan = sample_plan(chains=(), goals=())
    return compare(make_table(plan, {trial.id: baseline_result(trial) for trial in plan.trials}))


def traces(plot: Plot, **having: object) -> list[Any]:
    return [trace for trace in plot.figure.data if all(trace[key] == value for key, value in having.items())]


def test_every_choice_has_a_line_of_its_own_against_batch_size(comparison: SweepComparison) -> None:
    accuracy, speed = accuracy_plot(comparison), speed_plot(comparison)
    for lines in (traces(accuracy, showlegend=None), traces(accuracy, showlegend=False), speed.figure.data):
        assert [line.name for line in lines] == ESCAPED
        assert [line.line.color for line in lines] == list(COLORS[:4])
        for line, words in zip(lines, ESCAPED, strict=True):
            assert list(line.x) == SIZES
            assert all(words in text for text in line.text)


def test_what_the_target_took_is_told_for_every_choice(comparison: SweepComparison) -> None:
    for plot in target_plots(comparison):
        dots = traces(plot, mode="markers")
        assert [trace.name for trace in dots] == ESCAPED
        assert all(words in text for trace, words in zip(dots, ESCAPED, strict=True) for text in trace.text)
    ideal = traces(target_plots(comparison)[0], name="1/B")
    assert [line.legendgroup for line in ideal] == CHOICES
    assert all(len(line.x) == len(SIZES) for line in ideal)


def test_in_learning_curves_colour_is_the_batch_size_and_dash_the_choice(comparison: SweepComparison) -> None:
    for plot in curve_plots(comparison):
        drawn = [trace for trace in plot.figure.data if trace.legendgroup]
        assert len({trace.line.color for trace in drawn}) == len(SIZES)
        assert len({trace.line.dash for trace in drawn}) == len(CHOICES)
        assert len({(trace.line.color, trace.line.dash) for trace in drawn}) == len(SIZES) * len(CHOICES)
        named = [trace.name for trace in plot.figure.data if trace.showlegend is not False]
        assert named == [*(f"batch {size}" for size in SIZES), *ESCAPED]
        assert plot.figure.layout.height > HEIGHT


def test_rates_of_every_choice_have_a_plot_and_colours_mean_the_same_in_all(comparison: SweepComparison) -> None:
    plots = rate_plots(comparison)
    assert [plot.title for plot in plots] == [f"Learning rate and batch size, {choice}" for choice in CHOICES]
    assert len({plot.figure.layout.coloraxis.cmin for plot in plots}) == 1
    for plot in plots:
        (grid,) = traces(plot, type="heatmap")
        assert sum("<b>" in text for row in grid.text for text in row) == len(SIZES)


def test_without_other_settings_there_is_one_line_in_ink_and_no_word_of_choices(plain: SweepComparison) -> None:
    assert [trace.name for trace in speed_plot(plain).figure.data] == ["measured"]
    assert [trace.name for trace in target_plots(plain)[0].figure.data] == ["measured", "1/B", "fit"]
    names = [trace.name for trace in accuracy_plot(plain).figure.data]
    assert names[:2] == ["training data", "validation, best rate"]
    assert all(name.startswith("validation, rate ") for name in names[2:])
    assert accuracy_plot(plain).figure.data[1].line.color == INK
    assert [plot.title for plot in rate_plots(plain)] == ["Learning rate and batch size"]
    curves = curve_plots(plain)[0].figure
    assert [t.name for t in curves.data if t.showlegend is not False] == [f"batch {size}" for size in SIZES]
    assert len(curves.data) == len(SIZES)
    assert [line.x.count(None) for line in curves.data] == [SEEDS - 1] * len(SIZES), "a gap between two seeds' lines"
    assert curves.layout.height == HEIGHT


def test_a_choice_keeps_its_look_where_others_are_missing(comparison: SweepComparison) -> None:
    table = comparison.table
    all_looks = [look for look, _ in by_choice(comparison.evidence, table.baselines, lambda c: c)]
    last = [c for c in table.baselines if c.config.task.options["norm"] == HOSTILE]
    assert [look for look, _ in by_choice(comparison.evidence, last, lambda c: c)] == all_looks[2:]


def test_long_names_are_on_several_lines() -> None:
    words = (
        SeriesStyle("adamw beta1=0.95 beta2=0.99 weight_decay=0.125, bfloat16, 2 workers")
        .name("measured")
        .split("<br>")
    )
    assert len(words) == 2
    assert SeriesStyle().name("measured") == "measured"
