"""Numbers are handed to models in the types that models take, whatever the files hold."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from trainables.data.columns import Stored
from trainables.data.first_rows import first_rows
from trainables.data.selection import Selection
from trainables.data.sources import DataError
from trainables.data.table import open_table

SINGLE = {
    **dict.fromkeys(["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"], torch.int64),
    **dict.fromkeys(["float16", "float32", "float64"], torch.float32),
    "bool": torch.bool,
}
IN_LISTS = SINGLE | {"int8": torch.int8, "int16": torch.int16, "uint8": torch.uint8, "uint16": torch.int32}


def table_of_all_types() -> pa.Table:
    numbers = np.arange(4)
    columns = {f"one_{name}": pa.array(numbers.astype(name)) for name in SINGLE}
    lists = {
        f"list_{name}": pa.FixedSizeListArray.from_arrays(pa.array(numbers.repeat(2).astype(name)), 2)
        for name in SINGLE
    }
    return pa.table(columns | lists)


def test_every_type_is_read_as_one_that_models_take_with_the_same_values(tmp_path: Path) -> None:
    written = table_of_all_types()
    pq.write_table(written, tmp_path / "x.parquet")
    selection = Selection.of(written.column_names)
    table = open_table(str(tmp_path / "x.parquet"), tmp_path / "cache", selection)
    for kinds, prefix, shape in ((SINGLE, "one", ()), (IN_LISTS, "list", (2,))):
        for name, kind in kinds.items():
            assert table.columns[f"{prefix}_{name}"] == (kind, shape)
            values = torch.tensor(written[f"{prefix}_{name}"].to_pylist())
            assert torch.equal(table.column(f"{prefix}_{name}"), values.to(kind))
    first = first_rows(str(tmp_path / "x.parquet"), tmp_path / "cache", selection)
    assert {name: torch.from_numpy(values.copy()).dtype for name, values in first.columns.items()} == {
        name: kind for name, (kind, _) in table.columns.items()
    }
    assert first.converted["one_float64"] == "float64 is read as float32"
    assert first.converted["list_int32"] == "int32 is read as int64"
    assert not {"one_int64", "one_float32", "list_uint8", "one_bool"} & first.converted.keys()


def test_a_column_that_is_kept_as_stored_has_the_type_of_its_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1e300, 2.0], "y": [0.5, 1.5]}), tmp_path / "x.parquet")
    table = open_table(str(tmp_path / "x.parquet"), tmp_path / "cache", Selection.of(["x", "y"], {"x": Stored()}))
    assert [kind for kind, _ in table.columns.values()] == [torch.float64, torch.float32]
    assert table.column("x")[0] == 1e300


def test_a_number_that_does_not_fit_is_told_instead_of_becoming_infinite(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, float("inf"), 1e300]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"column 'x' of .* holds 1e\+300, which is too large for float32"):
        open_table(str(tmp_path / "x.parquet"), tmp_path / "cache", Selection.of(["x"]))
