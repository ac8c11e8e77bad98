"""The order of the training rows, and which of them a worker then owns."""

import numpy as np
import pytest
import torch

from tests.support.training_samples import Regression, build, table, tables, training, worker
from trainables.config.training import ShuffledOnce, SortedBy, StoredOrder
from trainables.data.order import row_order
from trainables.data.shards import Shard
from trainables.data.sources import DataError
from trainables.training.loop import train

ROWS = table(60)


def test_sorted_rows_ascend_and_equal_ones_keep_their_order():
    order = row_order(SortedBy(column="count"), ROWS)
    counts = ROWS.column("count").numpy()[order]
    assert (np.diff(counts) >= 0).all()
    assert all((np.diff(order[counts == count]) > 0).all() for count in range(4))


def test_shuffled_is_one_order_and_stored_none():
    order = row_order(ShuffledOnce(), ROWS)
    assert sorted(order) == list(range(60)) != list(order)
    assert (row_order(ShuffledOnce(), ROWS) == order).all()
    assert row_order(StoredOrder(), ROWS) is None


@pytest.mark.parametrize("column", ["label", "features"])
def test_a_column_that_cannot_be_sorted_by_is_named(column):
    with pytest.raises(DataError, match=f"{column}.*it has target, count"):
        row_order(SortedBy(column=column), ROWS)


def test_a_block_of_sorted_rows_has_other_labels_than_the_next_and_a_stripe_has_all():
    order = row_order(SortedBy(column="target"), ROWS)
    target = ROWS.column("target").numpy()
    blocks, stripes = (
        [target[order[Shard(60, worker, 2, mode).rows(0, 30)]] for worker in (0, 1)] for mode in ("block", "stripe")
    )
    assert blocks[0].max() <= blocks[1].min()
    assert stripes[0].max() > stripes[1].min()


def test_the_training_reads_the_same_rows_in_another_order(tmp_path):
    seen = {}

    class Watched(Regression):
        def forward(self, model, batch):
            if model.training:
                seen[self.name] = torch.cat([seen.get(self.name, torch.empty(0)), batch["target"]])
            return super().forward(model, batch)

    for name, order in {"stored": StoredOrder(), "sorted": SortedBy(column="target")}.items():
        task = Watched()
        task.name = name
        settings = training(8, 8, data_order=order)
        list(train(build(task), task, tables(64), settings, worker(tmp_path)))
    assert not torch.equal(seen["stored"], seen["sorted"])
    assert torch.equal(seen["stored"].sort().values, seen["sorted"].sort().values)
