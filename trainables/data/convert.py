"""Parquet or Arrow IPC files -> one Arrow IPC file with one record batch, to be mapped into memory.

One record batch, so that every column is one contiguous piece and its tensor a view. The rows stream through: each
column is appended to a raw file of its own, and the raw files are mapped and joined, so memory stays small. A raw file
is open only while it is written to: a table may have more columns than a process may have open files.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from trainables.data import builtin
from trainables.data.arrow_values import ragged_values, tensor_values
from trainables.data.digest import clear_away, intact_file, with_digest
from trainables.data.fingerprint import fingerprint
from trainables.data.formats import opened, source_file_name
from trainables.data.lock import locked
from trainables.data.selection import EVERYTHING, NOT_NAMED, Selection
from trainables.data.sources import DataError, list_files
from trainables.process.heartbeat import beat

ARROW_SUFFIX = ".arrow"
FORMAT = 2  # of the mapped files; raise it when something else is written below
LEFT_OUT = b"left_out"  # of the schema's metadata: JSON, why a column of the files is not there; empty: not named
PADDING = b"padding"  # of a column of lists of unequal length: JSON, what they are padded with
BOOLEAN = b"boolean"  # Arrow packs booleans into bits; the mapped file holds bytes, and this mark


@dataclass
class _Column:
    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]  # of an element, where rows are lists of unequal length
    path: Path
    ragged: bool = False
    pad: float = 0

    @property
    def row_size(self) -> int:
        return math.prod(self.row_shape)

    @property
    def lengths(self) -> Path:
        """The raw file of how long the lists are, int64."""
        return self.path.with_suffix(".lengths")


@dataclass
class _Spooled:
    """The data that was read from a source."""

    columns: dict[str, _Column]
    left_out: dict[str, str]  # of the other columns: why
    n_rows: int = 0


def mapped_file(source: str, cache: Path, selection: Selection = EVERYTHING) -> Path:
    """The file in this node's cache that holds the selected columns of a source (absolute path or URI), to be mapped.

    Written if it is not there yet; processes that ask at the same time wait for the one that writes. Its name ends with
    the digest of what it holds. To read gigabytes for that at every start would cost too much: the node that wrote it,
    or last started, looks once, and again when the file was touched. One that is damaged is told, and written anew.
    Raises DataError, of a column to be read: nulls, text, dates, rows of unequal length, files that differ in it; and
    where there are no rows, or no column is left.
    """
    if source.startswith(builtin.SCHEME):
        source = str(builtin.materialise(source, cache))
    content = fingerprint(source, cache)
    chosen = hashlib.sha256(selection.key.encode()).hexdigest()[:16]
    stem = cache / "tables" / f"{content}-{chosen}-{FORMAT}"
    if (found := intact_file(stem, ARROW_SUFFIX, cache)) is None:
        with locked(stem.with_suffix(".lock")):
            if (found := intact_file(stem, ARROW_SUFFIX, cache)) is None:
                clear_away(stem, ARROW_SUFFIX)
                found = _convert(source, stem, selection, lambda: fingerprint(source, cache) == content)
    return found


def _convert(source: str, stem: Path, selection: Selection, is_unchanged: Callable[[], bool]) -> Path:
    """Write the file, and return its name."""
    partial = stem.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    partial.mkdir(parents=True)
    try:
        spooled = _spool(source, selection, partial)
        joined = partial / f"_joined{ARROW_SUFFIX}"  # no data file by its name, should the cache lie below the data
        _join(spooled, joined)
        if not is_unchanged():  # the copy is named after what was there before
            raise DataError(f"data {source!r} was changed while it was read; run again when it is complete")
        target = with_digest(joined, stem)
        os.replace(joined, target)
        return target
    except OSError as error:
        raise DataError(f"the mapped copy of {source!r} cannot be written to {stem.parent}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _spool(source: str, selection: Selection, folder: Path) -> _Spooled:
    spooled = _Spooled({}, {})
    types: dict[str, str] | None = None
    for file in list_files(source):
        where = source_file_name(file)
        with opened(file) as reader:
            chosen = columns_to_read(reader.schema, selection, where)
            spooled.left_out |= dict.fromkeys(set(reader.schema.names).difference(chosen), NOT_NAMED)
            for batch in reader.batches(chosen):
                types = same_columns(types, batch.schema, where, selection, spooled.left_out)
                if not batch.num_rows:  # of a list without rows nobody knows the length
                    continue
                for name in [name for name in types if name not in spooled.left_out]:
                    _take(spooled, name, batch.column(name), f"column {name!r} of {where}", selection, folder)
                spooled.n_rows += batch.num_rows
    if spooled.n_rows == 0:
        raise DataError(f"data {source!r} has no rows")
    for name in spooled.left_out:
        spooled.columns.pop(name, None)
    if not spooled.columns:
        raise DataError(none_can_be_read(source, selection, spooled.left_out))
    return spooled


def none_can_be_read(source: str, selection: Selection, left_out: Mapping[str, str]) -> str:
    """What to say where a table would have no column."""
    if selection.names is None:
        return f"data {source!r} has no column that a table can hold: {next(iter(left_out.values()), 'it has none')}"
    wanted, known = (", ".join(map(repr, sorted(names))) for names in (selection.names, left_out))
    return f"data {source!r} has none of the columns that the task reads ({wanted}); it has {known}"


def _take(spooled: _Spooled, name: str, array: Any, what: str, selection: Selection, folder: Path) -> None:
    """Append the values of a column to its raw file, or note why it is left out."""
    try:
        pad = selection.padding(name)
        lists = None if pad is None else ragged_values(array, what, pad)
        values = tensor_values(array, name, what, selection) if lists is None else lists.values
        if name not in spooled.columns:
            path = folder / f"{len(spooled.columns)}.raw"
            spooled.columns[name] = _Column(values.dtype, values.shape[1:], path, pad is not None, pad or 0)
        _append(spooled.columns[name], values, what)
        if lists is not None:
            with spooled.columns[name].lengths.open("ab") as file:
                lists.lengths.tofile(file)
    except DataError as error:
        if not selection.skips_unusable:
            raise
        spooled.left_out[name] = str(error)


def _append(column: _Column, values: np.ndarray[Any, Any], what: str) -> None:
    if values.shape[1:] != column.row_shape:
        raise DataError(
            f"{what} holds rows of shape {list(values.shape[1:])} after rows of shape {list(column.row_shape)}; "
            f"pad or cut them to one shape"
        )
    with column.path.open("ab") as file:
        values.tofile(file)
    beat()


def columns_to_read(schema: Any, selection: Selection, where: str) -> list[str]:
    """The selected columns of a file. Raises DataError where two of them have one name."""
    chosen = selection.among(schema.names)
    if twice := [name for name, count in Counter(chosen).items() if count > 1]:
        raise DataError(f"data {where!r} has more than one column named {', '.join(map(repr, twice))}")
    return chosen


def same_columns(
    types: Mapping[str, str] | None, schema: Any, where: str, selection: Selection, left_out: dict[str, str]
) -> dict[str, str]:
    """The selected columns of a file, by name, with their types: those of the files before it, in whatever order.

    Files of which one says that a column or the elements of its lists may be null, and another does not, are alike.

    `types`: of the files before it, None if this is the first. `left_out`: a column in which files differ is put
    there where the selection allows it. Raises DataError.
    """
    if not schema.names and selection.names is None:
        raise DataError(f"data {where!r} has no columns")
    chosen = set(selection.among(schema.names))
    own = {
        field.name: "prepared" if selection.prepares(field.name) else _type_name(field.type)
        for field in schema
        if field.name in chosen
    }
    if types is None:
        return own
    differ = [name for name in {**types, **own} if types.get(name) != own.get(name) and name not in left_out]
    if differ:
        other, one = (_names({name: of[name] for name in differ if name in of}) or "none" for of in (types, own))
        said = f"data {where!r} has columns {one}, the files before it {other}"
        if not selection.skips_unusable:
            raise DataError(said)
        left_out |= dict.fromkeys(differ, said)
    return {**types, **own} if selection.skips_unusable else dict(types)


def _type_name(kind: Any) -> str:
    """A type for a person, without what its lists call their elements and whether these may be null."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{_type_name(kind.value_type)}>"
    if pa.types.is_fixed_size_list(kind):
        return f"list<{_type_name(kind.value_type)}>[{kind.list_size}]"
    return str(kind)


def _names(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in types.items())


def _arrow(column: _Column, rows: int) -> Any:
    """The raw file of a column as an Arrow array, mapped."""
    kind = pa.uint8() if column.dtype == np.bool_ else pa.from_numpy_dtype(column.dtype)
    content = pa.memory_map(str(column.path)).read_buffer()
    array = pa.Array.from_buffers(kind, rows * column.row_size, [None, content])
    if not column.row_shape:
        return array
    tensor = pa.fixed_shape_tensor(kind, column.row_shape)
    return pa.ExtensionArray.from_storage(tensor, pa.FixedSizeListArray.from_arrays(array, column.row_size))


def _join(spooled: _Spooled, target: Path) -> None:
    fields, arrays, n_rows = [], [], spooled.n_rows
    for name, column in spooled.columns.items():
        if column.ragged:
            lengths = np.fromfile(column.lengths, np.int64)
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            array = pa.LargeListArray.from_arrays(offsets, _arrow(column, int(offsets[-1])))
        else:
            array = _arrow(column, n_rows)
        metadata = {BOOLEAN: b"1"} if column.dtype == np.bool_ else {}
        metadata |= {PADDING: json.dumps(column.pad).encode()} if column.ragged else {}
        fields.append(pa.field(name, array.type, nullable=False, metadata=metadata or None))
        arrays.append(array)
    reasons = {
        name: "" if why == NOT_NAMED else why for name, why in sorted(spooled.left_out.items())
    }  # of many, short
    schema = pa.schema(fields, metadata={LEFT_OUT: json.dumps(reasons)})
    options = ipc.IpcWriteOptions(allow_64bit=True)  # more than 2^31 elements in a column
    with open(target, "wb") as file:
        with ipc.new_file(file, schema, options=options) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=schema))
        file.flush()
        os.fsync(file.fileno())
