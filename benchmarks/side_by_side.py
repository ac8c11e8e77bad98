"""Two ways to do the same work, timed in turns: a ratio that a machine's drifts and other programs disturb least.

Each does a turn, then the other, each first in every other pair. Time is that of the processor, on a GPU the time until
it has done all that it was given. The ratio is the median over the pairs; its 95 % interval is that of a median, from
the order of the ratios alone, whatever their distribution.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from scipy.stats import binom

from trainables.results import Report

Clock = Callable[[], float]  # seconds; only differences mean something

MIN_TURNS = 12  # fewer have an interval that says little


@dataclass(frozen=True)
class SideBySide:
    first: float  # seconds of one of its turns, median
    second: float
    ratio: float  # second over first
    low: float
    high: float


def add_device_option(parser: argparse.ArgumentParser) -> None:
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=here, help="by default %(default)s, as it is here")


def clock_of(device: torch.device) -> Clock:
    if device.type == "cpu":
        return time.process_time

    def when_it_is_done() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return when_it_is_done


def timed(run: Iterator[object], clock: Clock) -> float:
    """Seconds of its next turn."""
    started = clock()
    next(run)
    return clock() - started


def turns_within(seconds: float, turn_seconds: float) -> int:
    """How many turns each gets where both together may take this long."""
    return max(MIN_TURNS, round(seconds / turn_seconds / 2))


def warmed_up(readings: Iterator[Report], turn_steps: int) -> Iterator[Report]:
    """A training after its first turn, within which it is read more than once; from then on, once in each."""
    while next(readings).step < turn_steps:
        pass
    return readings


def side_by_side(first: Iterator[object], second: Iterator[object], turns: int, clock: Clock) -> SideBySide:
    """Both for so many turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            times[which].append(timed((first, second)[which], clock))
    ratios = sorted(b / a for a, b in zip(*times, strict=True))
    below, above = binom.interval(0.95, turns, 0.5)
    return SideBySide(
        statistics.median(times[0]),
        statistics.median(times[1]),
        statistics.median(ratios),
        ratios[int(below) - 1],
        ratios[int(above)],
    )
