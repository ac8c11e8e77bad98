"""The types in which a table hands its numbers to models, whatever the files hold: float32 and int64.

    of the file            single numbers   in lists and tensors
    float16, float64       float32          float32
    int32, uint32          int64            int64
    int8, int16, uint8     int64            as they are: pixels, samples, bytes
    uint16                 int64            int32

Weights are float32, and classes and tokens are looked up by int64: most layers and losses refuse anything else. Short
whole numbers in lists stay short, since there are many of them. `Stored()` keeps the type of the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trainables.data.sources import DataError

WIDENED: dict[Any, np.dtype[Any]] = {
    np.dtype(np.uint16): np.dtype(np.int32),
    np.dtype(np.uint32): np.dtype(np.int64),
}  # torch cannot compute on them


def model_type(dtype: np.dtype[Any], is_single: bool) -> np.dtype[Any]:
    """The type for models of numbers of `dtype`. `is_single`: one number is a row."""
    if dtype.kind == "f":
        return np.dtype(np.float32)
    if dtype.kind in "iu" and (is_single or dtype.itemsize >= 4):
        return np.dtype(np.int64)
    return WIDENED.get(dtype, dtype)


def as_model_type(values: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    """The values, shape [rows, ...], in the type for models. Raises DataError where they do not fit into it."""
    wanted = model_type(values.dtype, values.ndim == 1)
    if wanted == values.dtype:
        return values
    with np.errstate(over="ignore"):
        converted = values.astype(wanted)
    if values.dtype == np.float64 and (lost := np.isfinite(values) & ~np.isfinite(converted)).any():
        raise DataError(
            f"{what} holds {values[lost].flat[0]:g}, which is too large for float32, the type of a model's weights: "
            "scale it, or keep float64 by `columns = {...: Stored()}` in the task"
        )
    return converted
