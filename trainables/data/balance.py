"""Rows drawn by class: small classes more often than others, every row of a class as often as the others of it.

With N rows, n of them of a class, and its share s of the draws, each of its rows has the weight s N / n: how often it
comes in an epoch of N draws, on the average over epochs. Shares are proportional to n^(1 - power): alike with power 1,
as in the data towards 0. Worked example, 10 rows of which 8 are of class a and 2 of b, power 1: 5 draws each in an
epoch, so rows of a have the weight 5/8 and rows of b 5/2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.config.training import ClassBalanced
from trainables.data.shards import Rows, Shard
from trainables.data.sources import DataError

if TYPE_CHECKING:
    from trainables.data.table import Table

LAYOUT_SEED = 0  # which draw of an epoch is of which class: the same in every trial
SHOWN_CLASSES = 10


class BalancedRows:
    """The stream of one worker. Draw number i of an epoch belongs to one class, in which the rows take turns.

    Any part of it can be computed at any time, so the position in the data is one number here too.
    """

    def __init__(self, shard: Shard, table: Table, sampling: ClassBalanced) -> None:
        """Raises DataError if the column does not hold a whole number in every row."""
        self._shard = shard
        labels = class_labels(table, sampling.column)
        classes, index, self._counts = np.unique(labels, return_inverse=True, return_counts=True)
        self._draws = draws_per_class(self._counts, sampling.power)
        self._rows = np.argsort(index, kind="stable")  # those of the first class, then those of the second, ...
        self._first = np.cumsum(self._counts) - self._counts
        self._first_draw = np.cumsum(self._draws) - self._draws
        self._class_of_draw = np.repeat(np.arange(len(classes)), self._draws)
        self._layout = np.random.default_rng(LAYOUT_SEED).permutation(len(labels))

    def rows(self, start: int, count: int) -> Rows:
        """Rows number `start` to `start + count` of this worker's stream; int64, shape [count]."""
        draws = self._layout[self._shard.rows(start, count)]
        epochs = np.arange(start, start + count) // self._shard.n_rows
        of = self._class_of_draw[draws]
        turn = epochs * self._draws[of] + draws - self._first_draw[of]
        rows: Rows = self._rows[self._first[of] + turn % self._counts[of]]
        return rows


def row_weights(table: Table, sampling: ClassBalanced) -> dict[int, tuple[int, float]]:
    """For each class: its rows, and how often each of them comes in an epoch. Raises DataError as BalancedRows does."""
    classes, counts = np.unique(class_labels(table, sampling.column), return_counts=True)
    weights = draws_per_class(counts, sampling.power) / counts
    return {int(name): (int(rows), float(weight)) for name, rows, weight in zip(classes, counts, weights, strict=True)}


def weights_in_words(table: Table, sampling: ClassBalanced) -> str:
    """`class_balanced by label: in an epoch a row comes, of 0 (8 rows) 0.625 times, of 1 (2 rows) 2.5 times`."""
    told = [
        f"of {name} ({rows:,} rows) {weight:.4g} times" for name, (rows, weight) in row_weights(table, sampling).items()
    ]
    more = f", and so on for {len(told) - SHOWN_CLASSES} further classes" if len(told) > SHOWN_CLASSES else ""
    return f"class_balanced by {sampling.column}: in an epoch a row comes, {', '.join(told[:SHOWN_CLASSES])}{more}"


def draws_per_class(counts: np.ndarray, power: float) -> np.ndarray:
    """Draws of each class in an epoch, at least one; they add up to the rows. int64, shape [classes]."""
    shares = counts ** (1.0 - power)
    exact = shares / shares.sum() * counts.sum()
    draws: np.ndarray = np.maximum(1, np.floor(exact)).astype(np.int64)
    while (left := int(counts.sum() - draws.sum())) != 0:  # the nearest whole numbers with that sum
        gap = exact - draws if left > 0 else np.where(draws > 1, draws - exact, -np.inf)
        draws[np.argsort(-gap, kind="stable")[: abs(left)]] += np.sign(left)
    return draws


def class_labels(table: Table, column: str) -> np.ndarray:
    whole = {
        name
        for name, (dtype, shape) in table.columns.items()
        if not shape and not dtype.is_floating_point and not dtype.is_complex
    }
    if column not in whole:
        has = f"it has {', '.join(sorted(whole))}" if whole else "it has none"
        raise DataError(f"sampling class_balanced goes by {column!r}, which is no column of whole numbers; {has}")
    labels: np.ndarray = table.column(column).numpy()
    return labels
