"""The Pareto front: a known answer, and the properties that define it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.analysis.pareto import dominates, front, levels
from orchestrator.analysis.statistics import Mode

VALUES = st.sampled_from([0.0, 0.5, 1.0, 2.0, math.inf])  # few values, so that ties are common
MODES = st.lists(st.sampled_from(["min", "max"]), min_size=1, max_size=4)


@st.composite
def clouds(draw: st.DrawFn) -> tuple[list[tuple[float, ...]], list[Mode]]:
    modes = draw(MODES)
    points = draw(st.lists(st.tuples(*[VALUES] * len(modes)), max_size=12))
    return points, modes  # type: ignore[return-value]


def test_a_known_front() -> None:
    points = [(0.98, 112.0), (0.97, 30.0), (0.96, 30.0), (0.95, 10.0), (0.98, 120.0), (0.90, 9.0)]
    assert front(points, ["max", "min"]) == [0, 1, 3, 5]


def test_equal_points_are_on_the_front_together() -> None:
    assert front([(1.0, 1.0), (1.0, 1.0), (2.0, 2.0)], ["min", "min"]) == [0, 1]


def test_a_point_alone_is_on_the_front_and_nothing_has_none() -> None:
    assert front([(5.0,)], ["max"]) == [0]
    assert front([], ["max"]) == []


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        front([(1.0, math.nan)], ["max", "min"])


@given(clouds())
def test_no_member_is_dominated_and_every_other_is(cloud: tuple[list[tuple[float, ...]], list[Mode]]) -> None:
    points, modes = cloud
    members = front(points, modes)
    for index, point in enumerate(points):
        if index in members:
            assert not any(dominates(other, point, modes) for other in points)
        else:
            assert any(dominates(points[member], point, modes) for member in members)


@given(clouds())
def test_turning_an_axis_over_changes_nothing(cloud: tuple[list[tuple[float, ...]], list[Mode]]) -> None:
    points, modes = cloud
    turned: list[Mode] = ["max" if mode == "min" else "min" for mode in modes]
    assert front([tuple(-value for value in point) for point in points], turned) == front(points, modes)


def test_timings_of_one_thing_fall_on_one_level() -> None:
    assert levels([0.206, 0.21, 0.213, 0.13, 0.247], 1.05) == [2, 2, 2, 1, 3]
