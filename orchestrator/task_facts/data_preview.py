"""The beginning of a table, without the conversion that the whole of it needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from trainables.data.first_rows import PREVIEW_ROWS as PREVIEW_ROWS
from trainables.data.first_rows import first_rows
from trainables.data.selection import EVERYTHING, Selection
from trainables.data.table import Table


def preview(source: str, cache: Path, selection: Selection = EVERYTHING) -> Table:
    """The first rows of a source (absolute path or URI) as a table. Raises DataError; see `first_rows`."""
    found = first_rows(source, cache, selection)
    columns = {name: torch.from_numpy(np.array(values)) for name, values in found.columns.items()}
    return Table(columns, found.left_out, found.ragged)
