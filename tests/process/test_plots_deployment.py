"""Axes that can be read: whatever the values are, a few plain numbers stand beside them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report.plots.deployment import log_axis, new_figure


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
