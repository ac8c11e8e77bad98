"""The Pareto front: the points that no other point beats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.sweep.spec import Mode


def dominates(first: Sequence[float], second: Sequence[float], modes: Sequence[Mode]) -> bool:
    """True when `first` is nowhere worse than `second` and somewhere better. Shapes [axes], [axes], [axes]."""
    better = False
    for a, b, mode in zip(first, second, modes, strict=True):
        if a != b:
            if (a < b) != (mode == "min"):
                return False
            better = True
    return better


def levels(values: Sequence[float], ratio: float) -> list[int]:
    """The values with noise taken off: equal integers for values that count as equal. Shape [points], positive.

    Ascending, a level begins with a value more than `ratio` times the first one of the level before. So the order is
    kept, the values of one level are within `ratio` of each other, and two timings of one thing do not both make the
    front by chance. Two values on either side of a border may still be closer than `ratio`.
    """
    level, start = 0, -math.inf
    result = dict[float, int]()
    for value in sorted(set(values)):
        if value > start * ratio:
            level, start = level + 1, value
        result[value] = level
    return [result[value] for value in values]


def front(points: Sequence[Sequence[float]], modes: Sequence[Mode]) -> list[int]:
    """Indices, ascending, of the points that no other point dominates; equal points are on the front together.

    points: shape [points, axes]. Raises ValueError for a NaN, which is neither better nor worse than anything: leave
    such points out. All pairs are compared, which takes a second at 1,000 points.
    """
    if any(math.isnan(value) for point in points for value in point):
        raise ValueError("a point on no scale: leave points with NaN out of a Pareto front")
    return [index for index, point in enumerate(points) if not any(dominates(other, point, modes) for other in points)]
