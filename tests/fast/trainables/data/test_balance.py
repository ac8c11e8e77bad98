"""Rows drawn by class: how often each comes, over workers, epochs and any division of the stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.config.training import ClassBalanced
from trainables.data.balance import BalancedRows, draws_per_class, row_weights, weights_in_words
from trainables.data.shards import Shard
from trainables.data.sources import DataError
from trainables.data.table import Table

LABELS = [0] * 8 + [7] * 2


def labelled(labels: list[int]) -> Table:
    return Table({"label": torch.tensor(labels), "size": torch.rand(len(labels))})


def stream(labels: list[int], worker: int = 0, workers: int = 1, power: float = 1.0) -> BalancedRows:
    shard = Shard(len(labels), worker, workers, "stripe", 0)
    return BalancedRows(shard, labelled(labels), ClassBalanced(power=power))


def test_known_weights() -> None:
    assert row_weights(labelled(LABELS), ClassBalanced()) == {0: (8, 5 / 8), 7: (2, 5 / 2)}
    assert weights_in_words(labelled(LABELS), ClassBalanced()) == (
        "class_balanced by label: in an epoch a row comes, of 0 (8 rows) 0.625 times, of 7 (2 rows) 2.5 times"
    )
    assert list(draws_per_class(np.array([900, 100]), 1.0)) == [500, 500]
    assert list(draws_per_class(np.array([900, 100]), 0.5)) == [750, 250], "3 to 1, as the roots of 9 to 1"
    assert list(draws_per_class(np.array([1, 1, 5]), 1.0)) == [3, 2, 2]
    assert list(draws_per_class(np.array([9996, 1, 1, 1, 1]), 1e-9)) == [9996, 1, 1, 1, 1]


@given(counts=st.lists(st.integers(1, 400), min_size=1, max_size=12), power=st.floats(0.01, 1))
def test_an_epoch_has_as_many_draws_as_rows_and_some_of_each_class(counts: list[int], power: float) -> None:
    draws = draws_per_class(np.array(counts), power)
    assert draws.sum() == sum(counts)
    assert draws.min() >= 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_each_row_comes_as_often_as_its_weight_says(workers: int) -> None:
    """In 8 epochs every row of the large class comes 5 times, every one of the small class 20 times."""
    seen = np.zeros(len(LABELS), dtype=np.int64)
    for worker in range(workers):
        part = stream(LABELS, worker, workers)
        rows = Shard(len(LABELS), worker, workers, "stripe", 0).n_rows
        seen += np.bincount(part.rows(0, 8 * rows), minlength=len(LABELS))
    assert seen.tolist() == [5] * 8 + [20] * 2


def test_any_part_of_the_stream_is_the_same_alone() -> None:
    whole = stream(LABELS).rows(0, 47)
    parts = [stream(LABELS).rows(start, 7) for start in range(0, 42, 7)]
    assert np.concatenate(parts).tolist() == whole[:42].tolist()
    assert stream(LABELS).rows(42, 5).tolist() == whole[42:].tolist()


def test_a_column_that_holds_no_classes_is_refused() -> None:
    for column in ("size", "lable"):
        with pytest.raises(DataError, match=rf"by '{column}', which is no column of whole numbers; it has label"):
            BalancedRows(Shard(10), labelled(LABELS), ClassBalanced(column=column))
