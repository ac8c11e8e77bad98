"""Properties of the Pareto front over many draws."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.analysis.pareto import front, levels
from orchestrator.analysis.statistics import Mode
from tests.fast.orchestrator.analysis.test_pareto import clouds


@given(clouds(), st.randoms())
def test_the_order_of_the_points_does_not_matter(
    cloud: tuple[list[tuple[float, ...]], list[Mode]], rng: random.Random
) -> None:
    points, modes = cloud
    order = list(range(len(points)))
    rng.shuffle(order)
    shuffled = front([points[index] for index in order], modes)
    assert sorted(order[index] for index in shuffled) == front(points, modes)


@given(st.lists(st.floats(0.001, 1000), max_size=20), st.floats(1.0, 1.5))
def test_levels_keep_the_order_and_join_only_what_is_close(values: list[float], ratio: float) -> None:
    result = levels(values, ratio)
    for a, level_a in zip(values, result, strict=True):
        for b, level_b in zip(values, result, strict=True):
            if a < b:
                assert level_a <= level_b
            if level_a == level_b:
                assert max(a, b) <= min(a, b) * ratio
