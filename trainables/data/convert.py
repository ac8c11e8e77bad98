"""Parquet or Arrow IPC files -> one Arrow IPC file with one record batch, to be mapped into memory.

One record batch, so that every column is one contiguous piece and its tensor a view. The rows stream through: each
column is appended to a raw file of its own, and the raw files are mapped and joined, so memory stays small. A raw file
is open only while it is written to: a table may have more columns than a process may have open files.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from trainables.data import builtin
from trainables.data.digest import clear_away, intact_file, with_digest
from trainables.data.fingerprint import fingerprint
from trainables.data.formats import batches, opened, source_file_name
from trainables.data.lock import locked
from trainables.data.sources import DataError, list_files
from trainables.process.heartbeat import beat

ARROW_SUFFIX = ".arrow"
FORMAT = 1  # of the mapped files; raise it when something else is written below
WIDENED: dict[Any, np.dtype[Any]] = {
    np.dtype(np.uint16): np.dtype(np.int32),
    np.dtype(np.uint32): np.dtype(np.int64),
}  # torch cannot compute on them
BOOLEAN = b"boolean"  # Arrow packs booleans into bits; the mapped file holds bytes, and this mark


@dataclass
class _Column:
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]
    path: Path

    @property
    def row_size(self) -> int:
        return math.prod(self.row_shape)


def mapped_file(source: str, cache: Path) -> Path:
    """The file in this node's cache that holds a source (absolute path or URI) in the form to be mapped.

    Written if it is not there yet; processes that ask at the same time wait for the one that writes. Its name ends with
    the digest of what it holds. To read gigabytes for that at every start would cost too much: the node that wrote it,
    or last started, looks once, and again when the file was touched. One that is damaged is told, and written anew.
    Raises DataError: nulls, text, dates, rows of unequal length, files that differ in their columns, no rows.
    """
    if source.startswith(builtin.SCHEME):
        source = str(builtin.materialise(source, cache))
    content = fingerprint(source, cache)
    stem = cache / "tables" / f"{content}-{FORMAT}"
    if (found := intact_file(stem, ARROW_SUFFIX, cache)) is None:
        with locked(stem.with_suffix(".lock")):
            if (found := intact_file(stem, ARROW_SUFFIX, cache)) is None:
                clear_away(stem, ARROW_SUFFIX)
                found = _convert(source, stem, lambda: fingerprint(source, cache) == content)
    return found


def _convert(source: str, stem: Path, is_unchanged: Callable[[], bool]) -> Path:
    """Write the file, and return its name."""
    partial = stem.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    partial.mkdir(parents=True)
    try:
        columns, n_rows = _spool(source, partial)
        joined = partial / f"_joined{ARROW_SUFFIX}"  # no data file by its name, should the cache lie below the data
        _join(columns, n_rows, joined)
        if not is_unchanged():  # the copy is named after what was there before
            raise DataError(f"data {source!r} was changed while it was read; run again when it is complete")
        target = with_digest(joined, stem)
        os.replace(joined, target)
        return target
    except OSError as error:
        raise DataError(f"the mapped copy of {source!r} cannot be written to {stem.parent}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _spool(source: str, folder: Path) -> tuple[dict[str, _Column], int]:
    columns: dict[str, _Column] = {}
    types: dict[str, Any] | None = None
    n_rows = 0
    for file in list_files(source):
        where = source_file_name(source, file)
        with opened(source, file) as reader:
            for batch in batches(reader):
                types = same_columns(types, batch.schema, where)
                if not batch.num_rows:  # of a list without rows nobody knows the length
                    continue
                for name in types:
                    values = dense(batch.column(name), f"column {name!r} of {where}")
                    if name not in columns:
                        columns[name] = _Column(values.dtype, values.shape[1:], folder / f"{len(columns)}.raw")
                    _append(columns[name], values, f"column {name!r} of {where}")
                n_rows += batch.num_rows
    if n_rows == 0:
        raise DataError(f"data {source!r} has no rows")
    return columns, n_rows


def _append(column: _Column, values: np.ndarray[Any, Any], what: str) -> None:
    if values.shape[1:] != column.row_shape:
        raise DataError(
            f"{what} holds rows of shape {list(values.shape[1:])} after rows of shape {list(column.row_shape)}; "
            f"pad or cut them to one shape"
        )
    with column.path.open("ab") as file:
        values.tofile(file)
    beat()


def same_columns(types: Mapping[str, Any] | None, schema: Any, where: str) -> dict[str, Any]:
    """The columns of a file, by name, with their types: those of the files before it, in whatever order they stand.

    `types`: of the files before it, None if this is the first. Raises DataError.
    """
    own = {field.name: field.type for field in schema}
    if types is None:
        _check_names(schema, where)
        return own
    if own != types or len(own) < len(schema.names):
        raise DataError(f"data {where!r} has columns {_names(own)}, the files before it {_names(types)}")
    return dict(types)


def dense(array: Any, what: str) -> np.ndarray[Any, Any]:
    """An Arrow array as numpy, shape [rows, ...]: numbers, booleans, lists of one length, fixed-shape tensors.

    `what` names it in a DataError. uint16 and uint32 become int32 and int64: torch cannot compute on them.
    """
    kind = array.type
    if array.null_count:
        raise DataError(f"{what} holds {array.null_count} null values; fill them or drop their rows")
    if isinstance(kind, pa.FixedShapeTensorType):
        order = kind.permutation
        if order is not None and list(order) != sorted(order):
            raise DataError(f"{what} holds tensors with permuted dimensions; write them in the order of their shape")
        return dense(array.storage, what).reshape(len(array), *kind.shape)
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _dense_list(array, what)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(
            f"{what} is of type {kind}; a column holds numbers, booleans, or lists or tensors of one shape: "
            f"encode it as numbers, or leave it out of the file"
        )
    if pa.types.is_uint64(kind):
        raise DataError(f"{what} is of type uint64, which torch cannot compute on; write it as int64")
    values: np.ndarray[Any, Any] = array.to_numpy(zero_copy_only=False)
    wide = WIDENED.get(values.dtype)
    return values if wide is None else values.astype(wide)


def _dense_list(array: Any, what: str) -> np.ndarray[Any, Any]:
    rows = len(array)
    if pa.types.is_fixed_size_list(array.type):
        length = array.type.list_size
    else:
        lengths = np.unique(np.asarray(array.value_lengths()))
        if len(lengths) > 1:
            raise DataError(
                f"{what} holds lists of {lengths[0]} to {lengths[-1]} elements; pad or cut them to one length"
            )
        length = int(lengths[0]) if rows else 0
    if rows and not length:
        raise DataError(f"{what} holds empty lists")
    inner = dense(array.flatten(), what)
    return inner.reshape(rows, length, *inner.shape[1:])


def _check_names(schema: Any, where: str) -> None:
    if not schema.names:
        raise DataError(f"data {where!r} has no columns")
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise DataError(f"data {where!r} has more than one column named {', '.join(map(repr, twice))}")


def _names(types: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in types.items())


def _join(columns: dict[str, _Column], n_rows: int, target: Path) -> None:
    fields, arrays = [], []
    for name, column in columns.items():
        is_boolean = column.dtype == np.bool_
        kind = pa.uint8() if is_boolean else pa.from_numpy_dtype(column.dtype)
        content = pa.memory_map(str(column.path)).read_buffer()
        array = pa.Array.from_buffers(kind, n_rows * column.row_size, [None, content])
        if column.row_shape:
            tensor = pa.fixed_shape_tensor(kind, column.row_shape)
            array = pa.ExtensionArray.from_storage(tensor, pa.FixedSizeListArray.from_arrays(array, column.row_size))
        fields.append(pa.field(name, array.type, nullable=False, metadata={BOOLEAN: b"1"} if is_boolean else None))
        arrays.append(array)
    schema = pa.schema(fields)
    options = ipc.IpcWriteOptions(allow_64bit=True)  # more than 2^31 elements in a column
    with open(target, "wb") as file:
        with ipc.new_file(file, schema, options=options) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=schema))
        file.flush()
        os.fsync(file.fileno())
