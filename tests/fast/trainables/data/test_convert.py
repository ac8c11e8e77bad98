"""Mapped once per node, whoever asks first; and the three tables of a task."""

import errno
import os
import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from trainables.data import convert
from trainables.data.selection import Selection
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
    columns = ()

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


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
    task = write_splits(
        tmp_path, train={"x": [1], "y": [1]}, validation={"z": [2], "y": [2]}, test={"x": [3], "y": [3]}
    )
    task.columns = ("y",)
    with pytest.raises(
        DataError, match=r"the validation data .* has no column 'x', which `inputs` names; it has 'y', 'z'"
    ):
        open_data(task, tmp_path / "cache")
    task.columns = ()
    with pytest.raises(DataError, match=r"none of the columns that the task reads \('x'\); it has 'y', 'z'"):
        open_data(task, tmp_path / "cache")


def test_splits_of_which_a_column_to_read_differs_are_refused(tmp_path):
    task = write_splits(tmp_path, train={"x": [1], "y": [1]}, validation={"x": [2], "y": [True]}, test={"x": [3]})
    task.columns = ("y",)
    with pytest.raises(DataError, match=r"validation data .* has y: bool \[\], the train data y: int64 \[\]; they"):
        open_data(task, tmp_path / "cache")


def test_columns_that_nobody_reads_may_differ_and_are_not_in_the_tables(tmp_path):
    task = write_splits(
        tmp_path, train={"x": [1], "index": [7]}, validation={"x": [2], "text": ["a"]}, test={"x": [3], "gap": [None]}
    )
    data = open_data(task, tmp_path / "cache")
    assert [list(table.columns) for table in (data.train, data.validation, data.test)] == [["x"]] * 3
    assert "add it to the task's `columns`" in data.train.left_out["index"]


def test_a_column_to_sort_by_is_read_of_the_train_data_alone(tmp_path):
    task = write_splits(tmp_path, train={"x": [1], "when": [7]}, validation={"x": [2]}, test={"x": [3]})
    data = open_data(task, tmp_path / "cache", also=("when",))
    assert [list(table.columns) for table in (data.train, data.validation, data.test)] == [["x", "when"], ["x"], ["x"]]


# -- of a task that may read any column --------------------------------------------------------------------------------


class OpenEnded(Minimal):
    """Its code does not tell which columns it reads."""

    def losses(self, outputs: object, batch: dict[str, object]) -> object:
        return sum(batch.values())


def test_where_any_column_may_be_read_those_that_no_table_can_hold_are_left_out_with_the_reason(tmp_path):
    sets = {
        "train": {"x": [1], "y": [2], "text": ["a"], "gap": [None], "one": [1], "other": [1]},
        "validation": {"x": [1], "y": [2], "text": ["b"], "gap": [1.5], "other": [0.5]},
        "test": {"x": [1], "y": [2], "text": ["b"], "more": [3]},
    }
    task = OpenEnded(**vars(write_splits(tmp_path, **sets)))
    data = open_data(task, tmp_path / "cache")
    assert [list(table.columns) for table in (data.train, data.validation, data.test)] == [["x", "y"]] * 3
    assert "is of type string" in data.train.left_out["text"]
    assert "null values" in data.train.left_out["gap"]
    assert "the validation data has not the same column 'one'" in data.train.left_out["one"]
    assert "the train data has no such column" in data.test.left_out["more"]


def test_files_of_which_a_column_differs_keep_the_others(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    pq.write_table(pa.table({"x": [1], "z": [1]}), folder / "a.parquet")
    pq.write_table(pa.table({"x": [2], "z": ["one"]}), folder / "b.parquet")
    table = open_table(str(folder), tmp_path / "cache", Selection.of(None))
    assert table.column("x").tolist() == [1, 2]
    assert "has columns z: string, the files before it z: int64" in table.left_out["z"]
    with pytest.raises(DataError, match="z: string"):
        open_table(str(folder), tmp_path / "cache", Selection.of(["x", "z"]))


@pytest.mark.parametrize("ending", ["parquet", "arrow", "stream"])
def test_a_file_with_other_columns_beside_is_the_same_table(tmp_path, ending):
    content = pa.table({"text": ["a", "b"], "x": [1, 2], "null": pa.array([None, None]), "y": [0.5, 1.5]})
    path = tmp_path / f"x.{ending if ending == 'parquet' else 'arrow'}"
    if ending == "parquet":
        pq.write_table(content, path)
    else:
        with (ipc.new_file if ending == "arrow" else ipc.new_stream)(str(path), content.schema) as writer:
            writer.write_table(content)
    table = open_table(str(path), tmp_path / "cache", Selection.of(["y", "x"]))
    assert {name: table.column(name).tolist() for name in table.columns} == {"x": [1, 2], "y": [0.5, 1.5]}
    assert sorted(table.left_out) == ["null", "text"]


def test_of_1500_columns_those_to_read_alone_are_read_with_few_open_files(tmp_path):
    wide = pa.table({f"g{number}": [float(number), 0.0] for number in range(1500)})
    with ipc.new_file(str(tmp_path / "x.arrow"), wide.schema) as writer:
        writer.write_table(wide)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 16, hard))
    try:
        table = open_table(str(tmp_path / "x.arrow"), tmp_path / "cache", Selection.of(["g3", "g1499"]))
        everything = open_table(str(tmp_path / "x.arrow"), tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {name: table.column(name)[0].item() for name in table.columns} == {"g3": 3.0, "g1499": 1499.0}
    assert len(everything.columns) == 1500
    sizes = [path.stat().st_size for path in sorted((tmp_path / "cache" / "tables").glob("*.arrow"))]
    assert max(sizes) > 5 * min(sizes)  # the others are not in the file that is mapped
