"""Lists of unequal length: padded to the longest of a batch, beside a mask, in batches of about one length."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from trainables.data.buckets import POOL_STEPS, Buckets
from trainables.data.columns import Ragged
from trainables.data.first_rows import first_rows
from trainables.data.selection import Selection
from trainables.data.shards import Shard
from trainables.data.sources import DataError
from trainables.data.table import Table, open_table

LISTS = [[5, 6, 7], [], [1], [2, 3]]
TOKENS = Selection.of(["tokens", "label"], {"tokens": Ragged(pad=-1)})


def written(folder: Path, ending: str = "parquet", lists: object = LISTS) -> str:
    content = pa.table({"tokens": pa.array(lists), "label": range(4)})
    path = folder / f"x.{ending}"
    if ending == "parquet":
        pq.write_table(content, path, row_group_size=3)
    else:
        with ipc.new_file(str(path), content.schema) as writer:
            writer.write_table(content, max_chunksize=3)
    return str(path)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_rows_are_padded_to_the_longest_of_their_batch_beside_a_mask(tmp_path: Path, ending: str) -> None:
    table = open_table(written(tmp_path, ending), tmp_path / "cache", TOKENS)
    assert table.columns == {
        "label": (torch.int64, ()),
        "tokens": (torch.int64, (-1,)),
        "tokens_mask": (torch.bool, (-1,)),
    }
    batch = table.gather(np.array([3, 1, 0]))
    assert batch["tokens"].tolist() == [[2, 3, -1], [-1, -1, -1], [5, 6, 7]]
    assert batch["tokens_mask"].tolist() == [[True, True, False], [False] * 3, [True] * 3]
    assert batch["label"].tolist() == [3, 1, 0]
    assert table.gather(np.array([2]))["tokens"].tolist() == [[1]]
    assert table.gather(np.array([1]))["tokens"].shape == (1, 1)  # an empty row has a place for its padding
    assert table.lengths is not None
    assert table.lengths.tolist() == [3, 0, 1, 2]
    first = first_rows(written(tmp_path, ending), tmp_path / "cache", TOKENS)
    assert first.ragged["tokens"].lengths.tolist() == [3, 0, 1]


def test_elements_may_be_vectors_and_are_of_types_that_models_take(tmp_path: Path) -> None:
    series = [[[0.5, 1.0], [1.5, 2.0]], [[2.5, 3.0]], [[0.0, 0.0]], [[0.0, 0.0]]]
    table = open_table(written(tmp_path, lists=series), tmp_path / "cache", TOKENS)
    batch = table.gather(np.array([0, 1]))
    assert batch["tokens"].tolist() == [[[0.5, 1.0], [1.5, 2.0]], [[2.5, 3.0], [-1.0, -1.0]]]
    assert table.columns["tokens"] == (torch.float32, (-1, 2))


def test_the_first_row_that_is_not_finite_is_found_in_lists_too(tmp_path: Path) -> None:
    lists = [[0.5], [], [1.0, float("nan")], [float("inf")]]
    assert open_table(written(tmp_path, lists=lists), tmp_path / "cache", TOKENS).not_finite() == ("tokens", 2)


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ([[1], None, [2], [3]], "holds 1 null values; write empty lists"),
        ([[1], [None], [2], [3]], "holds 1 null values; fill them"),
        ([1, 2, 3, 4], r"is of type int64; Ragged\(\) is for lists"),
        ([["a"], [], [], []], "is of type string"),
    ],
)
def test_what_is_no_list_of_numbers_is_told(tmp_path: Path, lists: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_table(written(tmp_path, lists=lists), tmp_path / "cache", TOKENS)


def test_lists_of_unequal_length_that_are_not_called_ragged_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lists of 0 to 3 elements; .* name it in the task's `columns` as Ragged\(\)"):
        open_table(written(tmp_path), tmp_path / "cache", Selection.of(["tokens"]))


def test_a_column_by_the_name_of_a_mask_is_refused(tmp_path: Path) -> None:
    lists = open_table(written(tmp_path), tmp_path / "cache", TOKENS)._ragged
    with pytest.raises(DataError, match="'tokens_mask', the name of the mask of a ragged one"):
        Table({"tokens_mask": torch.ones(4)}, ragged=lists)


# -- buckets ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    n_rows=st.integers(2, 400),
    num_workers=st.integers(1, 3),
    step=st.integers(1, 40),
    seed=st.integers(0, 5),
    cuts=st.lists(st.integers(1, 97), min_size=1, max_size=4),
)
def test_every_row_comes_once_in_an_epoch_from_wherever_one_reads(
    n_rows: int, num_workers: int, step: int, seed: int, cuts: list[int]
) -> None:
    num_workers = min(num_workers, n_rows)
    lengths = np.random.default_rng(seed).integers(0, 50, n_rows)
    seen = []
    for worker in range(num_workers):
        shard = Shard(n_rows, worker, num_workers, "stripe", seed)

        def stream(shard: Shard = shard) -> Buckets:
            return Buckets(shard, lengths, shard.n_rows, step, seed)

        whole = stream().rows(0, 3 * shard.n_rows)
        for epoch in range(3):
            own = whole[epoch * shard.n_rows : (epoch + 1) * shard.n_rows]
            assert sorted(own) == sorted(shard.rows(0, shard.n_rows))
        position, parts = 0, []
        while position < len(whole):  # as a run that is resumed reads it
            count = min(cuts[len(parts) % len(cuts)], len(whole) - position)
            parts.append(stream().rows(position, count))
            position += count
        assert np.array_equal(np.concatenate(parts), whole)
        seen += list(whole[: shard.n_rows])
    assert sorted(seen) == list(range(n_rows))


def padding(order: np.ndarray, lengths: np.ndarray, step: int) -> float:
    batches = [lengths[order[start : start + step]] for start in range(0, len(order), step)]
    return 1 - sum(batch.sum() for batch in batches) / sum(batch.max() * len(batch) for batch in batches)


def test_log_normal_lengths_leave_little_padding_and_workers_are_at_the_same_place_among_them() -> None:
    lengths = np.exp(np.random.default_rng(0).normal(4, 0.6, 8000)).astype(np.int64) + 1
    shards = [Shard(8000, worker, 2, "stripe", 0) for worker in range(2)]
    plain = [shard.rows(0, 8000) for shard in shards]
    sorted_ = [Buckets(shard, lengths, shard.n_rows, 32, 0).rows(0, 8000) for shard in shards]
    assert min(padding(order, lengths, 32) for order in plain) > 0.4
    assert max(padding(order, lengths, 32) for order in sorted_) < 0.1
    longest = [lengths[order].reshape(-1, 32).max(1) for order in sorted_]
    assert np.corrcoef(*longest)[0, 1] > 0.9
    spread = np.abs(np.diff([step.mean() for step in np.array_split(longest[0][:POOL_STEPS], 4)]))
    assert spread.max() < 60  # the lengths of a pool come in random order
