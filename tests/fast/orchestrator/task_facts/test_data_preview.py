"""What is known of data before it is converted: the same as after it, as far as footers and first rows tell."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import ipc

from orchestrator.task_facts.data_preview import PREVIEW_ROWS, preview
from trainables.data.sources import DataError
from trainables.data.table import open_table


def write(path: Path, table: pa.Table, rows: int = 4) -> None:
    """In pieces of so many rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=rows)
        return
    with ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)


def numbers(start: int, count: int) -> pa.Table:
    values = np.arange(start, start + count)
    pairs = pa.array([[float(v), 0.5] for v in values], pa.list_(pa.float64()))
    return pa.table({"x": values, "pair": pairs, "flag": values % 2 == 0})


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_the_preview_is_the_beginning_of_the_table(tmp_path: Path, ending: str) -> None:
    for name, start in (("b", 10), ("a", 0)):
        write(tmp_path / "data" / f"{name}.{ending}", numbers(start, 10))
    whole = open_table(str(tmp_path / "data"), tmp_path / "cache")
    first = preview(str(tmp_path / "data"), tmp_path / "nothing")
    assert first.columns == whole.columns
    assert first.n_rows == PREVIEW_ROWS
    for name in whole.columns:
        assert torch.equal(first.column(name), whole.column(name)[:PREVIEW_ROWS])
    assert not (tmp_path / "nothing").exists()  # nothing was converted


def test_files_without_rows_are_passed_over_and_few_rows_suffice(tmp_path: Path) -> None:
    for ending in ("parquet", "arrow"):
        write(tmp_path / ending / f"a.{ending}", numbers(0, 0))
        write(tmp_path / ending / f"b.{ending}", numbers(7, 1))
        assert preview(str(tmp_path / ending), tmp_path).column("x").tolist() == [7]


def test_the_columns_of_a_file_without_rows_mean_nothing(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.parquet", pa.table({"x": pa.array([], pa.null())}))
    write(tmp_path / "data" / "b.parquet", pa.table({"x": [1.5]}))
    for look in (preview, open_table):
        assert look(str(tmp_path / "data"), tmp_path / "cache").column("x").tolist() == [1.5]


def test_built_in_data_has_one_too(tmp_path: Path) -> None:
    assert preview("builtin://digits/train", tmp_path).columns["image"] == (torch.float32, (1, 8, 8))


def test_columns_may_stand_in_another_order_in_each_file(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.parquet", pa.table({"x": [1, 2], "y": [1.5, 2.5]}))
    write(tmp_path / "data" / "b.parquet", pa.table({"y": [3.5], "x": [3]}))
    table = open_table(str(tmp_path / "data"), tmp_path / "cache")
    assert table.column("x").tolist() == [1, 2, 3]
    assert table.column("y").tolist() == [1.5, 2.5, 3.5]
    assert preview(str(tmp_path / "data"), tmp_path).columns == table.columns


def test_a_folder_that_is_a_link_is_followed_and_one_that_leads_back_is_not(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "b.parquet", numbers(4, 2))
    write(tmp_path / "data" / "a.parquet", numbers(0, 4))
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere")
    for name, target in (("round", "data"), ("up", "."), ("again", "data/more"), ("inside", "data/real")):
        (tmp_path / "data" / name).symlink_to(tmp_path / target)
    write(tmp_path / "data" / "real" / "c.parquet", numbers(6, 1))
    write(tmp_path / "data" / "_versions" / "v1" / "d.parquet", numbers(7, 1))
    (tmp_path / "data" / "z").symlink_to(tmp_path / "data" / "_versions" / "v1")  # hidden without it
    assert open_table(str(tmp_path / "data"), tmp_path / "cache").column("x").tolist() == list(range(8))


LATE_NULL = pa.table({"x": pa.array([1, 2, 3, 4, 5, 6, 7, None])})
WRONG = {
    "a type that is no number, in the second file": (
        {"a.parquet": numbers(0, 4), "b.parquet": pa.table({"x": ["1"]})},
        "has columns x: string, the files before it",
    ),
    "text": ({"a.arrow": pa.table({"x": ["1"]})}, "column 'x' of .* is of type string"),
    "a null far behind": ({"a.parquet": LATE_NULL}, "column 'x' of .* holds nulls; fill them or drop their rows"),
    "no rows": ({"a.parquet": numbers(0, 0)}, "has no rows"),
    "a name twice": ({"a.arrow": pa.table([[1], [2]], names=["x", "x"])}, "more than one column named 'x'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_the_data_is_seen_without_converting_it(tmp_path: Path, case: str) -> None:
    files, words = WRONG[case]
    for name, table in files.items():
        write(tmp_path / "data" / name, table)
    for look in (preview, open_table):
        with pytest.raises(DataError, match=words if look is preview else None):
            look(str(tmp_path / "data"), tmp_path / "cache")


def test_all_columns_that_cannot_be_used_are_named_at_once(tmp_path: Path) -> None:
    content = {
        "city": ["here", "there"],
        "income": [1.0, None],
        "tags": [[1], [1, 2]],
        "fine": [1, 2],
    }
    write(tmp_path / "a.parquet", pa.table(content))
    with pytest.raises(DataError) as caught:
        preview(str(tmp_path / "a.parquet"), tmp_path)
    assert [name in str(caught.value) for name in content] == [True, True, True, False]
