"""An Arrow column as numpy values, in the types that models take. What cannot be a tensor is refused, by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from trainables.data.model_types import WIDENED, as_model_type
from trainables.data.ragged import RaggedValues
from trainables.data.selection import Selection
from trainables.data.sources import DataError


def tensor_values(array: Any, name: str, what: str, selection: Selection) -> np.ndarray[Any, Any]:
    """A column as a table holds it, shape [rows, ...]. `what` names it in a DataError."""
    if selection.preparation is not None and selection.prepares(name):
        return dense(selection.preparation.apply(name, array, what), what)
    if selection.keeps_type(name):
        return dense(array, what)
    return as_model_type(dense(array, what, widens=False), what)


def ragged_values(array: Any, what: str, pad: float) -> RaggedValues:
    """A column of lists of any length. Raises DataError for anything else, and for nulls."""
    kind = array.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise DataError(f"{what} is of type {kind}; Ragged() is for lists")
    if array.null_count:
        raise DataError(f"{what} holds {array.null_count} null values; write empty lists, or drop their rows")
    lengths = np.asarray(array.value_lengths()).astype(np.int64)
    flat = array.flatten()
    values = dense(flat, what, widens=False) if len(flat) else flat.to_numpy(zero_copy_only=False)
    listed = values if values.ndim > 1 else values[:, None]  # no single numbers, but many in a row
    values = as_model_type(listed, what).reshape(values.shape)
    return RaggedValues(values, np.concatenate([[0], np.cumsum(lengths)]), pad)


def dense(array: Any, what: str, *, widens: bool = True) -> np.ndarray[Any, Any]:
    """An Arrow array as numpy, shape [rows, ...]: numbers, booleans, lists of one length, fixed-shape tensors.

    `what` names it in a DataError. `widens`: uint16 and uint32 become int32 and int64, since torch cannot compute on
    them.
    """
    kind = array.type
    if array.null_count:
        raise DataError(f"{what} holds {array.null_count} null values; fill them or drop their rows")
    if isinstance(kind, pa.FixedShapeTensorType):
        order = kind.permutation
        if order is not None and list(order) != sorted(order):
            raise DataError(f"{what} holds tensors with permuted dimensions; write them in the order of their shape")
        return dense(array.storage, what, widens=widens).reshape(len(array), *kind.shape)
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _dense_list(array, what, widens)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(
            f"{what} is of type {kind}; a column holds numbers, booleans, or lists or tensors of one shape: "
            f"encode it as numbers"
        )
    if pa.types.is_uint64(kind):
        raise DataError(f"{what} is of type uint64, which torch cannot compute on; write it as int64")
    values: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
    wide = WIDENED.get(values.dtype) if widens else None
    return values if wide is None else values.astype(wide)


def _dense_list(array: Any, what: str, widens: bool) -> np.ndarray[Any, Any]:
    rows = len(array)
    if pa.types.is_fixed_size_list(array.type):
        length = array.type.list_size
    else:
        lengths = np.unique(np.asarray(array.value_lengths()))
        if len(lengths) > 1:
            raise DataError(
                f"{what} holds lists of {lengths[0]} to {lengths[-1]} elements; pad or cut them to one length, or name "
                "it in the task's `columns` as Ragged()"
            )
        length = int(lengths[0]) if rows else 0
    if rows and not length:
        raise DataError(f"{what} holds empty lists")
    inner = dense(array.flatten(), what, widens=widens)
    return inner.reshape(rows, length, *inner.shape[1:])
