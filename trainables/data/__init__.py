"""Arrow tables -> tensors; which rows each worker reads. Importing the package imports neither torch nor pyarrow."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trainables.data.sources import DataError

if TYPE_CHECKING:
    from trainables.data.shards import Shard
    from trainables.data.table import Table, TaskData, open_data, open_table

__all__ = ["DataError", "Shard", "Table", "TaskData", "open_data", "open_table"]

_HOMES = {"Shard": "shards", "Table": "table", "TaskData": "table", "open_data": "table", "open_table": "table"}


def __getattr__(name: str) -> Any:
    """Import on first use: a plan uses the fingerprints here and must not wait for torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
