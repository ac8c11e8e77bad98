"""Two ways to do the same work, timed in turns: a ratio that a machine's drifts and other programs disturb least.

Each does a turn, then the other, each first in every other pair. Time is that of the processor. The ratio is the median
over the pairs; its 95 % interval is that of a median, from the order of the ratios alone, whatever their distribution.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from scipy.stats import binom

from trainables.results import Report

MIN_TURNS = 12  # fewer have an interval that says little


@dataclass(frozen=True)
class SideBySide:
    first: float  # seconds of one of its turns, median
    second: float
    ratio: float  # second over first
    low: float
    high: float


def timed(run: Iterator[object]) -> float:
    """Seconds of processor time of its next turn."""
    started = time.process_time()
    next(run)
    return time.process_time() - started


def turns_within(seconds: float, turn_seconds: float) -> int:
    """How many turns each gets where both together may take this long."""
    return max(MIN_TURNS, round(seconds / turn_seconds / 2))


def warmed_up(readings: Iterator[Report], turn_steps: int) -> Iterator[Report]:
    """A training after its first turn, within which it is read more than once; from then on, once in each."""
    while next(readings).step < turn_steps:
        pass
    return readings


def side_by_side(first: Iterator[object], second: Iterator[object], turns: int) -> SideBySide:
    """Both for so many turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            times[which].append(timed((first, second)[which]))
    ratios = sorted(b / a for a, b in zip(*times, strict=True))
    below, above = binom.interval(0.95, turns, 0.5)
    return SideBySide(
        statistics.median(times[0]),
        statistics.median(times[1]),
        statistics.median(ratios),
        ratios[int(below) - 1],
        ratios[int(above)],
    )
