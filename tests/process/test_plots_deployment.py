"""Axes that can be read: whatever the values are, a few plain numbers stand beside them."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.table import make_table
from orchestrator.report.page import to_page
from orchestrator.report.plots.deployment import log_axis, new_figure
from tests.support.sample_sweep import sample_plan, sample_results


def ticks_within(low: float, high: float) -> list[float]:
    figure = new_figure("latency, ms", "accuracy")
    log_axis(figure, "x", [low, high])
    return [tick for tick in figure.layout.xaxis.tickvals if low <= tick <= high]


@given(low=st.floats(1e-6, 1e9), factor=st.floats(1.3, 1e3))
def test_a_logarithmic_axis_has_some_ticks_and_not_too_many(low: float, factor: float) -> None:
    assert 3 <= len(ticks_within(low, low * factor)) <= 9


@given(low=st.floats(1e-6, 1e9), factor=st.floats(1.01, 1e3))
def test_no_two_ticks_are_nearer_than_a_tenth_of_the_axis(low: float, factor: float) -> None:
    ticks = ticks_within(low, low * factor)
    assert all(above / below >= factor**0.1 * (1 - 1e-9) for below, above in itertools.pairwise(ticks))


def test_the_key_of_the_compressed_models_names_their_batch_sizes_alone() -> None:
    plan = sample_plan()
    some = [t for t in plan.trials if t.config.kind == "baseline" or t.config.training.batch_size == 32]
    plan = plan.model_copy(update={"trials": tuple(some)})
    page = to_page(compare(make_table(plan, {result.id: result for result in sample_results(plan)})))
    assert re.findall(r"</i>batch (\d+)</span>", page) == ["32"]
