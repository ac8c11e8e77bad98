"""Mapped once per node, whoever asks first; and the three tables of a task."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.data import convert
from trainables.data.sources import DataError
from trainables.data.table import open_table
from trainables.tasks.task_data import TaskData, open_data


def test_what_a_killed_process_left_half_done_is_swept_away(tmp_path):
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "x.parquet")
    open_table(str(tmp_path / "x.parquet"), tmp_path / "cache")
    (done,) = (tmp_path / "cache" / "tables").glob("*.arrow")
    done.unlink()
    partial = done.with_name(done.stem.rpartition("-")[0] + ".partial")
    partial.mkdir()
    (partial / "0.raw").write_bytes(b"half")
    assert open_table(str(tmp_path / "x.parquet"), tmp_path / "cache").column("x").tolist() == [1, 2]
    assert not partial.exists()


def test_changed_data_is_converted_anew_and_the_same_content_elsewhere_is_not(tmp_path):
    path = tmp_path / "x.parquet"
    for values in ([1, 2], [3, 4]):
        pq.write_table(pa.table({"x": values}), path)
        assert open_table(str(path), tmp_path / "cache").column("x").tolist() == values
    os.rename(path, tmp_path / "moved.parquet")
    open_table(str(tmp_path / "moved.parquet"), tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "tables").glob("*.arrow"))) == 2


def test_data_that_changes_while_it_is_read_leaves_nothing_under_its_old_name(tmp_path, monkeypatch):
    path, join = tmp_path / "x.parquet", convert._join

    def changing(*arguments):
        join(*arguments)
        pq.write_table(pa.table({"x": [3, 4]}), path)

    pq.write_table(pa.table({"x": [1, 2]}), path)
    monkeypatch.setattr(convert, "_join", changing)
    with pytest.raises(DataError, match="was changed while it was read"):
        open_table(str(path), tmp_path / "cache")
    assert not list((tmp_path / "cache" / "tables").glob("*.arrow"))
    monkeypatch.setattr(convert, "_join", join)
    assert open_table(str(path), tmp_path / "cache").column("x").tolist() == [3, 4]


def test_a_cache_that_cannot_be_locked_says_so(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "x.parquet")
    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(DataError, match=r"cannot be locked: .*No locks available; set PARETUNE_CACHE"):
        open_table(str(tmp_path / "x.parquet"), tmp_path / "cache")


def test_a_cache_that_cannot_be_written_says_so(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tables").write_text("a file where a folder is needed")
    with pytest.raises(DataError, match=r"the cache .* cannot be written: .*; set PARETUNE_CACHE"):
        open_table(str(tmp_path / "x.parquet"), tmp_path / "cache")


# -- the three tables of a task ----------------------------------------------------------------------------------------


class Minimal:
    """As much of a task as `open_data` looks at."""

    inputs = ("x",)

    def __init__(self, **sources: str) -> None:
        self.__dict__.update(sources)


def write_splits(folder: Path, **columns: dict[str, list[int]]) -> Minimal:
    for split, content in columns.items():
        pq.write_table(pa.table(content), folder / f"{split}.parquet")
    return Minimal(**{split: str(folder / f"{split}.parquet") for split in columns})


def test_the_test_data_is_not_touched_before_it_is_asked_for(tmp_path):
    task = write_splits(tmp_path, train={"x": [1]}, validation={"x": [2]}, test={"x": [3]})
    Path(task.test).unlink()
    data = open_data(task, tmp_path / "cache")
    assert isinstance(data, TaskData)
    assert (data.train.n_rows, data.validation.n_rows) == (1, 1)
    with pytest.raises(DataError, match="does not exist"):
        _ = data.test
    pq.write_table(pa.table({"x": [3]}), task.test)
    assert data.test.column("x").tolist() == [3]


def test_a_split_without_the_columns_of_the_model_is_named(tmp_path):
    task = write_splits(tmp_path, train={"x": [1]}, validation={"z": [2]}, test={"x": [3]})
    with pytest.raises(DataError, match=r"the validation data .* has no column 'x', which `inputs` names; it has 'z'"):
        open_data(task, tmp_path / "cache")


def test_splits_of_different_columns_are_refused(tmp_path):
    task = write_splits(tmp_path, train={"x": [1], "y": [1]}, validation={"x": [2]}, test={"x": [3]})
    with pytest.raises(DataError, match=r"validation data .* has no y, the train data y: int64 \[\]; they must be"):
        open_data(task, tmp_path / "cache")
