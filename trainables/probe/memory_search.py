"""Finds the largest micro-batch that fits, from a few measured peaks.

The peak memory of a training step is nearly linear in the micro-batch, M(b) = M0 + m b: weights, gradients and
optimiser state do not depend on b, activations do. So two small probes determine the line, the line predicts the size
that uses `FILL` of the room, and a probe verifies it. A step of the search is never more than `MAX_JUMP` times the
largest size that fitted, because a line through two small sizes may be wrong for large ones, and a failed probe may
crash the device.

`next_move` only decides; its caller measures, in a fresh process, after an optimiser step, at the longest input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

FILL = 0.97  # share of the room for activations: the rest is for fragmentation and the growth of a longer run
FAR_AND_NEAR, FILL_FAR = 8, 0.92  # a prediction beyond 8 times the measured sizes uses a smaller share
MAX_JUMP = 16
ENOUGH = 0.95  # the search ends when a verified size has this share of the rows that would just fit by the line
FIRST, SECOND = 1, 4
MAX_PROBES = 24  # a bound for devices that follow no line


@dataclass(frozen=True)
class Probe:
    """Measure this micro-batch next."""

    micro_batch_size: int
    why: str


@dataclass(frozen=True)
class LargestThatFits:
    """The largest micro-batch that was measured to fit within `FILL` of the capacity; 0 if not even
    `least_rows` fit.
    """

    micro_batch_size: int
    why: str


@dataclass(frozen=True)
class MemoryLine:
    """M(b) = fixed_bytes + bytes_per_row b, through the two largest sizes that fit."""

    fixed_bytes: float
    bytes_per_row: float

    def rows_within(self, capacity_bytes: float) -> int:
        """The largest b with M(b) <= capacity; for a flat line, practically infinite (2**62)."""
        if self.bytes_per_row <= 0:
            return 2**62
        return max(0, int((capacity_bytes - self.fixed_bytes) / self.bytes_per_row))


def next_move(
    peaks: Mapping[int, int | None], capacity_bytes: int, max_rows: int, least_rows: int = FIRST
) -> Probe | LargestThatFits:
    """The next micro-batch to probe, or the answer. `peaks`: micro-batch -> peak bytes, None where memory ran out.

    `max_rows`: the largest useful micro-batch (the batch, or the data set). `least_rows`: the smallest one that can be
    trained. Raises ValueError unless both limits are positive.
    """
    if capacity_bytes <= 0 or max_rows <= 0:
        raise ValueError(f"capacity ({capacity_bytes} bytes) and max_rows ({max_rows}) must be positive")
    fits = {b: peak for b, peak in peaks.items() if peak is not None and peak <= capacity_bytes}
    largest = max(fits, default=0)
    failed = min((b for b in peaks if b not in fits and b > largest), default=None)
    ceiling = max_rows if failed is None else min(max_rows, failed - 1)

    if not peaks:
        return Probe(least_rows, "the smallest step there is")
    if largest == 0:
        return LargestThatFits(0, "a single row does not fit" if least_rows == 1 else f"{least_rows} rows do not fit")
    if largest >= ceiling:
        return LargestThatFits(largest, "the next size does not fit" if failed else "nothing larger makes sense")
    if len(peaks) >= MAX_PROBES:
        return LargestThatFits(largest, f"stopped after {MAX_PROBES} probes")
    if len(fits) < 2:
        return Probe(min(SECOND, ceiling) if failed is None else (largest + failed) // 2, "a second point for the line")
    line = line_through(fits)
    limit = line.rows_within(capacity_bytes)
    if largest >= ENOUGH * limit:
        return LargestThatFits(largest, f"verified, and at least {ENOUGH:.0%} of what the line says would just fit")
    promised = max(int(FILL * limit), math.ceil(ENOUGH * limit), line.rows_within(FILL * capacity_bytes))
    if promised > FAR_AND_NEAR * largest:
        promised = int(FILL_FAR * promised)
    if failed is not None and promised > ceiling:
        return Probe((largest + failed) // 2, "the line promised too much: halve the gap")
    if promised > MAX_JUMP * largest:
        return Probe(
            min(MAX_JUMP * largest, ceiling), f"towards the line's promise, in a jump of at most {MAX_JUMP} times"
        )
    return Probe(min(promised, ceiling), f"the line reaches {FILL:.0%} of the room for activations there")


def line_through(fits: Mapping[int, int]) -> MemoryLine:
    """The line through the two largest sizes. Raises ValueError for fewer than two."""
    if len(fits) < 2:
        raise ValueError(f"a line needs two points, not {len(fits)}")
    (b1, m1), (b2, m2) = sorted(fits.items())[-2:]
    slope = (m2 - m1) / (b2 - b1)
    return MemoryLine(fixed_bytes=m2 - slope * b2, bytes_per_row=slope)


def find_limit(
    measure: Callable[[int], int | None], capacity_bytes: int, max_rows: int
) -> tuple[LargestThatFits, dict[int, int | None]]:
    """Probe until the limit is found. `measure(b)`: peak bytes of a step with b rows, None if memory ran out."""
    peaks: dict[int, int | None] = {}
    while True:
        match next_move(peaks, capacity_bytes, max_rows):
            case LargestThatFits() as found:
                return found, peaks
            case Probe(micro_batch_size=size):
                peaks[size] = measure(size)
