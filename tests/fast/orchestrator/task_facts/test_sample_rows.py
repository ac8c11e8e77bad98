"""Rows that are likely to be odd are found in every form of a file, wherever they stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from orchestrator.task_facts.sample_rows import odd_rows

FORMS = ["statistics", "no statistics", "file", "stream"]


def write(folder: Path, form: str, table: pa.Table) -> None:
    """In two files, each in pieces of three rows."""
    for number, part in enumerate((table.slice(0, 7), table.slice(7))):
        if form in ("statistics", "no statistics"):
            statistics = form == "statistics"
            pq.write_table(part, folder / f"{number}.parquet", row_group_size=3, write_statistics=statistics)
        else:
            new = ipc.new_stream if form == "stream" else ipc.new_file
            with new(folder / f"{number}.arrow", part.schema) as file:
                file.write_table(part, max_chunksize=3)


@pytest.mark.parametrize("form", FORMS)
def test_the_last_row_one_in_the_middle_and_the_extremes_of_whole_numbers_are_found(tmp_path: Path, form: str) -> None:
    label, tokens = np.ones(20, dtype=np.int64), np.full((20, 2), 5)
    label[11], tokens[3, 1], tokens[12, 0] = 4, 2, 9
    columns = {"tokens": pa.FixedSizeListArray.from_arrays(tokens.ravel(), 2), "label": label, "x": np.arange(20.0)}
    write(tmp_path, form, pa.table(columns))
    rows = {row.number: row for row in odd_rows(str(tmp_path), tmp_path, ("tokens", "x"))}
    assert {number: row.why for number, row in rows.items()} == {
        0: "where 'label' is 1, its lowest",
        3: "where 'tokens' is 2, its lowest",
        10: "in the middle",
        11: "where 'label' is 4, its highest",
        12: "where 'tokens' is 9, its highest",
        19: "the last",
    }
    assert rows[12].table.column("tokens").tolist() == [[9, 5]]
    assert all(row.table.column("x").tolist() == [float(number)] for number, row in rows.items())


def test_a_row_may_be_chosen_for_several_reasons(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), tmp_path / "x.parquet")
    whys = [row.why for row in odd_rows(str(tmp_path / "x.parquet"), tmp_path)]
    assert whys == [
        "where 'a' is 1, its lowest and where 'b' is 3, its lowest",
        "where 'a' is 2, its highest and where 'b' is 4, its highest",
    ]
