"""Parquet and Arrow IPC -> mapped tables -> tensors: nothing changes on the way, and what cannot be used says so."""

import datetime
import os
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from trainables.data import formats
from trainables.data.formats import count_rows
from trainables.data.sources import DataError
from trainables.data.table import Table, open_table

DTYPES = ["int8", "int16", "int32", "int64", "uint8", "float16", "float32", "float64", "bool"]


def column(values: np.ndarray) -> pa.Array:
    """Rows of any shape as Arrow: plain values, a list, or a tensor."""
    flat = pa.array(values.ravel())
    if values.ndim == 1:
        return flat
    storage = pa.FixedSizeListArray.from_arrays(flat, values[0].size)
    if values.ndim == 2 or values.dtype == bool:
        return storage
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(flat.type, values.shape[1:]), storage)


def write_ipc(table: pa.Table, path: Path, batch_rows: int | None = None, *, stream: bool = False) -> None:
    with (ipc.new_stream if stream else ipc.new_file)(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch_rows)


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 50))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    columns = {}
    for index, dtype in enumerate(draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=4))):
        shape = draw(st.sampled_from([(), (3,), (1,), (2, 2), (1, 2, 3)]))
        columns[f"column {index}"] = random.integers(0, 100, (rows, *shape)).astype(dtype)
    return columns


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(tables(), st.sampled_from(["parquet", "ipc", "stream"]), st.integers(1, 60), st.integers(1, 3))
def test_tensors_equal_what_was_written(tmp_path_factory, columns, form, chunk, n_files):
    folder = tmp_path_factory.mktemp("data")
    table = pa.table({name: column(values) for name, values in columns.items()})
    rows = table.num_rows
    for index in range(n_files):
        part = table.slice(rows * index // n_files, rows * (index + 1) // n_files - rows * index // n_files)
        if form == "parquet":
            pq.write_table(part, folder / f"{index}.parquet", row_group_size=chunk)
        else:
            write_ipc(part, folder / f"{index}.arrow", chunk, stream=form == "stream")
    mapped = open_table(str(folder), folder / "cache")
    assert mapped.n_rows == rows
    order = np.random.default_rng(0).permutation(rows)
    batch = mapped.gather(order)
    for name, values in columns.items():
        expected = values.reshape(rows, -1) if values.dtype == bool and values.ndim > 2 else values
        assert mapped.columns[name] == (torch.from_numpy(expected).dtype, expected.shape[1:])
        assert torch.equal(mapped.column(name), torch.from_numpy(expected))
        assert torch.equal(batch[name], torch.from_numpy(expected[order]))


def test_a_column_is_a_view_on_the_mapped_file_and_a_batch_is_a_copy(tmp_path):
    pq.write_table(pa.table({"x": np.arange(1000.0), "ok": np.arange(1000) % 2 == 0}), tmp_path / "x.parquet")
    table = open_table(str(tmp_path / "x.parquet"), tmp_path / "cache")
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "/cache/tables/" in line]
    for name in ("x", "ok"):
        place = table.column(name).data_ptr()
        assert any(int(area[0].split("-")[0], 16) <= place < int(area[0].split("-")[1], 16) for area in maps)
    batch = table.gather(np.array([5, 5, 7]))
    assert batch["x"].tolist() == [5, 5, 7]
    batch["x"][:] = -1
    assert table.gather(np.array([5]))["x"].tolist() == [5]
    with pytest.raises(IndexError):
        table.gather(np.array([1000]))


def test_lists_of_one_length_and_small_unsigned_numbers_are_taken_as_they_come(tmp_path):
    """What pandas writes: lists without a fixed size. torch has no arithmetic on uint16 and uint32."""
    table = pa.table(
        {
            "list": pa.array([[[1.0, 2.0]], [[3.0, 4.0]]], pa.list_(pa.list_(pa.float32()))),
            "large": pa.array([[True], [False]], pa.large_list(pa.bool_())),
            "u16": pa.array([65535, 0], pa.uint16()),
            "u32": pa.array([4294967295, 0], pa.uint32()),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    mapped = open_table(str(tmp_path / "x.parquet"), tmp_path / "cache")
    assert mapped.columns == {
        "list": (torch.float32, (1, 2)),
        "large": (torch.bool, (1,)),
        "u16": (torch.int32, ()),
        "u32": (torch.int64, ()),
    }
    assert [mapped.column(name).flatten().tolist() for name in ("list", "large", "u16", "u32")] == [
        [1, 2, 3, 4],
        [True, False],
        [65535, 0],
        [4294967295, 0],
    ]


PERMUTED = pa.ExtensionArray.from_storage(
    pa.fixed_shape_tensor(pa.int8(), (1, 2), permutation=[1, 0]), pa.array([[1, 2]], pa.list_(pa.int8(), 2))
)
UNUSABLE = [
    (pa.array([1.0, None]), "1 null values; fill them or drop their rows"),
    (pa.array([[1.0, None]]), "1 null values"),
    (pa.array([[1.0], None], pa.list_(pa.float32(), 1)), "1 null values"),
    (pa.array(["a", "b"]), "type string; a column holds numbers"),
    (pa.array(["a", "b"]).dictionary_encode(), "type dictionary"),
    (pa.array([datetime.date(2020, 1, 1)]), "type date32"),
    (pa.array([{"a": 1}]), "type struct"),
    (pa.array([1], pa.decimal128(5)), "type decimal128"),
    (pa.array([b"a"]), "type binary"),
    (pa.array([["a"]]), "type string"),
    (pa.array([1], pa.uint64()), "uint64, which torch cannot compute on; write it as int64"),
    (pa.array([[1, 2], [3]]), "lists of 1 to 2 elements; pad or cut them to one length"),
    (pa.array([[], []], pa.list_(pa.int8())), "empty lists"),
    (PERMUTED, "permuted dimensions"),
]


@pytest.mark.parametrize(("array", "words"), UNUSABLE, ids=[words.split(";")[0] for _, words in UNUSABLE])
def test_a_column_that_cannot_be_used_is_named_with_the_way_out(tmp_path, array, words):
    table = pa.table({"fine": np.zeros(len(array)), "odd one": array})
    write_ipc(table, tmp_path / "x.arrow")
    with pytest.raises(DataError) as caught:
        open_table(str(tmp_path / "x.arrow"), tmp_path / "cache")
    assert "column 'odd one'" in str(caught.value)
    assert "x.arrow" in str(caught.value)
    assert words in str(caught.value)
    assert not list((tmp_path / "cache" / "tables").glob("*.partial"))


def test_lists_that_change_their_length_between_batches_are_named(tmp_path):
    table = pa.table({"x": pa.array([[1, 2], [3, 4], [5], [6]])})
    write_ipc(table, tmp_path / "x.arrow", batch_rows=2)
    with pytest.raises(DataError, match=r"rows of shape \[1\] after rows of shape \[2\]; pad or cut"):
        open_table(str(tmp_path / "x.arrow"), tmp_path / "cache")


@pytest.mark.parametrize("parts", [(0, 2), (2, 0)], ids=["first", "last"])
def test_a_batch_without_rows_is_passed_over(tmp_path, parts):
    """Nobody knows how long its lists would be."""
    rows = pa.record_batch({"x": pa.array([[1, 2], [3, 4]])})
    with ipc.new_file(tmp_path / "x.arrow", rows.schema) as writer:
        for count in parts:
            writer.write_batch(rows.slice(0, count))
    assert open_table(str(tmp_path / "x.arrow"), tmp_path / "cache").column("x").tolist() == [[1, 2], [3, 4]]


def _two_schemas(folder: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), folder / "a.parquet")
    pq.write_table(pa.table({"x": [1.5]}), folder / "b.parquet")


def _partitioned(folder: Path) -> None:
    (folder / "label=3").mkdir()
    pq.write_table(pa.table({"x": [1]}), folder / "label=3" / "a.parquet")


def _truncated(folder: Path) -> None:
    pq.write_table(pa.table({"x": np.arange(1000)}), folder / "a.parquet")
    (folder / "a.parquet").write_bytes((folder / "a.parquet").read_bytes()[:500])


BROKEN = {
    "an empty folder": (lambda folder: None, "is a folder without data files; data files end in .parquet"),
    "only hidden files": (lambda folder: (folder / "_x.parquet").write_bytes(b""), "without data files"),
    "a CSV file": (lambda folder: (folder / "x.parquet").write_text("a,b\n1,2\n"), "neither a Parquet nor an Arrow"),
    "an empty file": (lambda folder: (folder / "x.parquet").write_bytes(b""), "neither a Parquet nor an Arrow"),
    "a truncated file": (_truncated, "cannot be read"),
    "no rows": (lambda folder: pq.write_table(pa.table({"x": pa.array([], pa.int8())}), folder / "x.pq"), "no rows"),
    "no columns": (lambda folder: write_ipc(pa.table({}), folder / "x.arrow"), "no rows"),
    "a name twice": (
        lambda folder: write_ipc(pa.table([[1], [2]], names=["x", "x"]), folder / "x.arrow"),
        "more than one column named 'x'",
    ),
    "files that differ": (_two_schemas, "has columns x: double, the files before it x: int64"),
    "a partitioned folder": (_partitioned, "keeps column 'label' in the names of its folders"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_source_that_cannot_be_used_says_why(tmp_path, case):
    make, words = BROKEN[case]
    (tmp_path / "data").mkdir()
    make(tmp_path / "data")
    with pytest.raises(DataError) as caught:
        open_table(str(tmp_path / "data"), tmp_path / "cache")
    assert words in str(caught.value)
    assert str(tmp_path / "data") in str(caught.value)


def test_a_folder_is_read_in_the_order_of_its_names_and_below(tmp_path):
    for name, value in [("b.parquet", 2), ("a.arrow", 1), ("c/d.parquet", 3), ("_x.parquet", 9), (".y/e.parquet", 9)]:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        table = pa.table({"x": [value]})
        if name.endswith("parquet"):
            pq.write_table(table, tmp_path / "data" / name)
        else:
            write_ipc(table, tmp_path / "data" / name)
    (tmp_path / "data" / "README.txt").write_text("notes")
    assert open_table(str(tmp_path / "data"), tmp_path / "cache").column("x").tolist() == [1, 2, 3]


def test_a_table_in_memory_is_like_a_mapped_one():
    table = Table({"x": torch.arange(6).reshape(3, 2), "y": torch.tensor([1.0, 2.0, 3.0])})
    assert table.n_rows == 3
    assert table.columns == {"x": (torch.int64, (2,)), "y": (torch.float32, ())}
    assert table.gather(np.array([2, 0]))["x"].tolist() == [[4, 5], [0, 1]]
    with pytest.raises(DataError, match="the same number of rows"):
        Table({"x": torch.zeros(3), "y": torch.zeros(4)})


def test_large_batches_and_types_that_numpy_lacks_are_gathered_alike():
    wide = torch.arange(3 * 400_000, dtype=torch.int32).reshape(3, -1)
    table = Table({"wide": wide, "half": torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)})
    batch = table.gather(np.array([2, 0, 2]))
    assert torch.equal(batch["wide"], wide[[2, 0, 2]])
    assert batch["half"].tolist() == [3, 1, 3]


def test_rows_stream_through_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "BATCH_BYTES", 1000)
    values = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    pq.write_table(pa.table({"x": column(values)}), tmp_path / "x.parquet")
    table = open_table(str(tmp_path / "x.parquet"), tmp_path / "cache")
    assert torch.equal(table.column("x"), torch.from_numpy(values))


def test_a_table_may_have_more_columns_than_a_process_may_have_open_files(tmp_path):
    wide = {f"g{number}": [float(number), 0.0] for number in range(60)}
    pq.write_table(pa.table(wide), tmp_path / "x.parquet")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 20, hard))
    try:
        table = open_table(str(tmp_path / "x.parquet"), tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert table.column("g59").tolist() == [59.0, 0.0]


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_rows_are_counted_in_every_form_of_a_file(tmp_path, kind):
    table = pa.table({"x": range(5), "y": range(5)})
    if kind == "parquet":
        pq.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    else:
        write_ipc(table, tmp_path / "x.arrow", batch_rows=2, stream=kind == "stream")
    assert count_rows(str(next(tmp_path.iterdir()))) == 5


def test_what_is_no_data_file_is_told_with_its_path_and_the_way_out(tmp_path):
    (tmp_path / "x.parquet").write_text("a,b\n1,2\n")
    for read in (count_rows, lambda source: open_table(source, tmp_path / "cache")):
        with pytest.raises(DataError, match=r"x.parquet' is neither a Parquet nor an Arrow IPC file; write it with"):
            read(str(tmp_path / "x.parquet"))
