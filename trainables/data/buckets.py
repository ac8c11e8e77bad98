"""Rows of about one length together, so that little of a batch is padding.

The shuffled rows of an epoch are taken in pools of some steps. Each pool is sorted by length and cut into steps, and
the steps are shuffled again: every row still comes once in an epoch, a step's rows are alike in length, and lengths
come in random order. Where all workers have as many rows, a step has the same place among the lengths on each, so that
none waits for another's long rows. Any part of the order can be asked for at any time, as of the one below it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np

from trainables.data.shards import Rows

POOL_STEPS = 256  # sorted together: more leave less padding, and less chance in what comes together


class Stream(Protocol):
    """An endless order of rows: epoch after epoch, each of the same rows."""

    def rows(self, start: int, count: int) -> Rows: ...


class Buckets:
    """A worker's stream of row numbers with rows of about one length beside each other."""

    def __init__(self, stream: Stream, lengths: Rows, n_rows: int, rows_per_step: int, seed: int) -> None:
        """`lengths`: of each row of the table. `n_rows`: of this worker, in an epoch. `seed`: the same on all."""
        self._stream, self._lengths, self._n_rows = stream, lengths, n_rows
        self._step, self._seed = rows_per_step, seed
        self._pool = lru_cache(maxsize=4)(self._compute_pool)

    def rows(self, start: int, count: int) -> Rows:
        """Rows number `start` to `start + count` of this worker's stream; int64, shape [count]."""
        parts, position = [], start
        while position < start + count:
            epoch, within = divmod(position, self._n_rows)
            number = self._pool_of(epoch, within)
            first, _ = self._bounds(epoch, number)
            part = self._pool(epoch, number)[within - first : within - first + start + count - position]
            parts.append(part)
            position += len(part)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _lead(self, epoch: int) -> int:
        """Rows at the beginning of an epoch that belong to a step of the one before."""
        return min(-(epoch * self._n_rows) % self._step, self._n_rows)

    def _pool_of(self, epoch: int, within: int) -> int:
        lead = self._lead(epoch)
        return 0 if within < lead else (within - lead) // (self._step * POOL_STEPS)

    def _bounds(self, epoch: int, number: int) -> tuple[int, int]:
        """Where a pool begins and ends in its epoch; the first takes the rows that complete a step."""
        size, lead = self._step * POOL_STEPS, self._lead(epoch)
        return (0 if number == 0 else lead + number * size), min(lead + (number + 1) * size, self._n_rows)

    def _compute_pool(self, epoch: int, number: int) -> Rows:
        first, end = self._bounds(epoch, number)
        rows = self._stream.rows(epoch * self._n_rows + first, end - first)
        ordered = rows[np.argsort(self._lengths[rows], kind="stable")]
        # Only whole steps change places. A step that spans two epochs is made of long rows: those left over, and the
        # longest of the next epoch's first pool.
        lead = self._lead(epoch) if number == 0 else 0
        whole = (len(rows) - lead) // self._step * self._step
        steps = ordered[:whole].reshape(-1, self._step)
        order = np.random.default_rng((self._seed, epoch, number)).permutation(len(steps))
        return np.concatenate([ordered[len(rows) - lead :], steps[order].ravel(), ordered[whole : len(rows) - lead]])
