"""Latencies of several models, timed in alternation, and the figures computed from them.

The speed of a machine drifts (clock, other programs), so models are timed in turn, one short block of calls each, round
after round, and the order of the compared models alternates. Common effects within a round cancel in the ratio of two
models. Calls within a block are not independent, so the rounds are the observations: an interval covers the variation
between rounds of one process on one machine. It does not cover another machine, process or day, nor the order of
compilation: of two copies of the same model, the one that is compiled first is about 1 % slower (five processes each
way, on a CPU: means 1.01 and 0.995).

The control is the reference's latency over itself: the same compiled code is timed as one more model. On a machine that
is not quiet it differs from 1, or its interval is wide; then no ratio of the same rounds is reliable.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from trainables.estimate import Estimate

LATENCY_BLOCK_SECONDS = 0.01  # one model's block in a round: long against timer and scheduler, short against drift
MOST_CALLS, FEWEST_CALLS = 500, 1  # calls in one block
CALLS_FOR_A_TAIL = 20  # the 95th percentile of fewer calls is just their maximum
LATENCY_SECONDS_AT_MOST = 30.0  # for all rounds together; slow models get fewer rounds and wider intervals
OFF, WIDE = 1.05, 1.10  # largest ratio between the control and 1, and largest extent of its interval
ATTEMPTS = 3  # each with twice the rounds of the previous one

Seconds = NDArray[np.float64]
Call = Callable[[], object]  # one run of a model; returns when the device has finished


def time_in_turn(
    calls: Mapping[str, Call], rounds: int, seconds_at_most: float = LATENCY_SECONDS_AT_MOST
) -> dict[str, list[Seconds]]:
    """Time every call of `calls` in turn: per name and round, the seconds of each call, shape [calls of the block].

    The calls must be warm (compiled). At least one round is timed, and no round begins after `seconds_at_most`.
    """
    timed: dict[str, list[Seconds]] = {name: [] for name in calls}
    with _no_garbage_collection():
        lengths = {name: _calls_per_block(call) for name, call in calls.items()}
        started = time.perf_counter()
        for number in range(rounds):
            for name in _order(list(calls), number):
                timed[name].append(_block(calls[name], lengths[name]))
            if time.perf_counter() - started > seconds_at_most:
                break
    return timed


def time_beside_control(
    calls: Mapping[str, Call], control: tuple[str, str], rounds: int, seconds_at_most: float = LATENCY_SECONDS_AT_MOST
) -> tuple[dict[str, list[Seconds]], Estimate]:
    """`time_in_turn`, repeated with twice the rounds while the control is not 1; returns also the control's ratio.

    `control`: the names of two calls of the same code. If no attempt is quiet, the one closest to 1 is used.
    """
    started, tried = time.perf_counter(), list[tuple[dict[str, list[Seconds]], Estimate]]()
    for attempt in range(ATTEMPTS):
        left = seconds_at_most - (time.perf_counter() - started)
        if attempt and left <= 0:
            break
        timed = time_in_turn(calls, rounds * 2**attempt, left)
        tried.append((timed, median_ratio(timed[control[0]], timed[control[1]])))
        if is_quiet(tried[-1][1]):
            return tried[-1]
    return min(tried, key=lambda one: abs(math.log(one[1].value)))


def is_quiet(control: Estimate) -> bool:
    """Whether the machine was quiet enough to compare latencies: control within 5 % of 1, interval within 10 %."""
    if not 1 / OFF <= control.value <= OFF:
        return False
    return control.low is None or control.high is None or (control.low >= 1 / WIDE and control.high <= WIDE)


def _order(names: list[str], number: int) -> list[str]:
    """The order of the calls in a round: the first three, which are compared, are reversed in every other round.

    A call affects caches, clock and memory for the next one: in a fixed order, a model was 1 to 10 % slower than
    itself.
    """
    first, second = names[:3], names[3:]
    return [*(reversed(first) if number % 2 else first), *second]


def _calls_per_block(call: Call) -> int:
    call()
    typical = float(np.median(_block(call, 3)))
    return min(MOST_CALLS, max(FEWEST_CALLS, math.ceil(LATENCY_BLOCK_SECONDS / max(typical, 1e-9))))


def _block(call: Call, count: int) -> Seconds:
    call()  # loads the model into the caches, which the previous one has filled
    stamps = np.empty(count + 1)
    stamps[0] = time.perf_counter()
    for i in range(1, count + 1):
        call()
        stamps[i] = time.perf_counter()
    return np.diff(stamps)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def has_tail(rounds: list[Seconds]) -> bool:
    """Whether every round has enough calls for its own high quantile."""
    return min(map(len, rounds)) >= CALLS_FOR_A_TAIL


def latency_ms(rounds: list[Seconds], quantile: float, *, by_round: bool = True) -> Estimate:
    """A quantile of the seconds of a call, in milliseconds: the median over rounds of each round's own quantile.

    A burst of other work affects a few rounds, but not the median. Without `by_round`: the quantile over the calls of
    all rounds, for blocks that are too short for a tail. The two are different figures and must not be compared.
    """
    if not by_round:
        pooled = np.concatenate(rounds)
        note = f"over all {len(pooled)} calls, too few per round for an interval"
        return Estimate(value=float(np.quantile(pooled, quantile)) * 1e3, n=len(rounds), note=note)
    return median([float(np.quantile(block, quantile)) * 1e3 for block in rounds])


def median_ratio(rounds: list[Seconds], reference: list[Seconds]) -> Estimate:
    """The median over rounds of (median of the model) / (median of the reference in the same round)."""
    return median([float(np.median(own) / np.median(other)) for own, other in zip(rounds, reference, strict=True)])


def median(values: list[float]) -> Estimate:
    """Median of independent observations, with a distribution-free interval between two of them.

    The k-th smallest and k-th largest of n enclose the true median with probability 1 - 2 P(Binomial(n, 1/2) < k); the
    largest k with at least 95 % is taken, so the coverage is 95 % or more. Fewer than six observations cannot give it.
    Source: David and Nagaraja, Order Statistics, 3rd edition, section 7.1.
    """
    ordered = sorted(values)
    n = len(ordered)
    value = float(np.median(ordered))
    rank = _rank_of_limit(n)
    if rank == 0:
        return Estimate(value=value, n=n, note="no interval: it needs at least six rounds")
    return Estimate(value=value, low=ordered[rank - 1], high=ordered[n - rank], n=n)


def _rank_of_limit(n: int) -> int:
    """The largest k with P(Binomial(n, 1/2) < k) <= 2.5 %; 0 if there is none."""
    below, rank = 0, 0
    while (below := below + math.comb(n, rank)) * 40 <= 2**n:
        rank += 1
    return rank
