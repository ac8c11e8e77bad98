"""The Pareto front: a known answer, and the properties that define it."""

from __future__ import annotations

import math
import random

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


@given(clouds(), st.randoms())
def test_the_order_of_the_points_does_not_matter(
    cloud: tuple[list[tuple[float, ...]], list[Mode]], rng: random.Random
) -> None:
    points, modes = cloud
    order = list(range(len(points)))
    rng.shuffle(order)
    shuffled = front([points[index] for index in order], modes)
    assert sorted(order[index] for index in shuffled) == front(points, modes)


@given(clouds())
def test_turning_an_axis_over_changes_nothing(cloud: tuple[list[tuple[float, ...]], list[Mode]]) -> None:
    points, modes = cloud
    turned: list[Mode] = ["max" if mode == "min" else "min" for mode in modes]
    assert front([tuple(-value for value in point) for point in points], turned) == front(points, modes)


def test_timings_of_one_thing_fall_on_one_level() -> None:
    assert levels([0.206, 0.21, 0.213, 0.13, 0.247], 1.05) == [2, 2, 2, 1, 3]


@given(st.lists(st.floats(0.001, 1000), max_size=20), st.floats(1.0, 1.5))
def test_levels_keep_the_order_and_join_only_what_is_close(values: list[float], ratio: float) -> None:
    result = levels(values, ratio)
    for a, level_a in zip(values, result, strict=True):
        for b, level_b in zip(values, result, strict=True):
            if a < b:
                assert level_a <= level_b
            if level_a == level_b:
                assert max(a, b) <= min(a, b) * ratio
