"""The order of the training rows before they are divided among the workers.

Each worker shuffles its own rows again in every epoch (`shards`), so with one worker the order hardly matters. With
several workers, `block` sharding of sorted data gives each worker different labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.config.training import DataOrder, ShuffledOnce, SortedBy, StoredOrder
from trainables.data.shards import Rows
from trainables.data.sources import DataError

if TYPE_CHECKING:
    from trainables.data.table import Table


SHUFFLE_SEED = 0  # the same order in every trial


def columns_sorted_by(order: DataOrder) -> tuple[str, ...]:
    """The columns that an order reads."""
    return (order.column,) if isinstance(order, SortedBy) else ()


def row_order(order: DataOrder, table: Table) -> Rows | None:
    """The stored row numbers in the wanted order, int64 [rows]; None if that is the order in which they are stored.

    Raises DataError when there is no such column, or when its rows are no single numbers.
    """
    match order:
        case StoredOrder():
            return None
        case ShuffledOnce():
            return np.random.default_rng(SHUFFLE_SEED).permutation(table.n_rows)
        case SortedBy(column=name):
            if name not in table.columns or table.columns[name][1]:
                numbers = [column for column, (_, shape) in table.columns.items() if not shape]
                has = f"it has {', '.join(numbers)}" if numbers else "it has none"
                raise DataError(f"data_order sorts by {name!r}, which is no column of single numbers; {has}")
            return np.argsort(table.column(name).numpy(), kind="stable")
