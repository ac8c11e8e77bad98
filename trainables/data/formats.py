"""The formats of data files, and their rows: Parquet, Arrow's IPC files and streams, CSV.

Which one a file is, its first bytes tell, or the ending `.csv`. A stream (`datasets.save_to_disk` of Hugging Face
writes them) has no list of its batches, so it is read from its beginning, also where a file would be asked for one
batch. Only the columns that are asked for are read: of a Parquet file no byte of the others, of an Arrow file none but
where it is a stream. A CSV is read whole, since its last row may change the type of a column.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv, ipc

from trainables.data import builtin
from trainables.data.sources import DataError, SourceFile, list_files, open_file

BATCH_BYTES = 32 << 20  # of rows in memory at a time, where the files allow it
STREAM = b"\xff\xff\xff\xff"  # with which every message of a stream begins


class OpenFile(ABC):
    """A data file that is open."""

    schema: Any  # of all its columns
    is_csv = False
    footer: Any = None  # of a Parquet file: `pq.FileMetaData`, with the statistics of its row groups

    @abstractmethod
    def batches(self, columns: Collection[str] | None = None) -> Iterator[Any]:
        """All rows from the first on, as record batches of no more than BATCH_BYTES where its form allows it.

        `columns`: those to read; None: all. They come in the file's own order.
        """

    def count(self) -> int:
        """Rows. What has no list of its rows is read, of one column alone where its form allows it."""
        return sum(batch.num_rows for batch in self.batches(self.schema.names[:1]))


class ParquetRows(OpenFile):
    def __init__(self, file: pq.ParquetFile) -> None:
        self._file, self.schema, self.footer = file, file.schema_arrow, file.metadata

    def batches(self, columns: Collection[str] | None = None) -> Iterator[Any]:
        size = sum(_group_bytes(self.footer.row_group(index), columns) for index in range(self.footer.num_row_groups))
        rows = BATCH_BYTES * self.footer.num_rows // max(size, 1)
        yield from self._file.iter_batches(batch_size=min(max(rows, 1), 1 << 16), columns=_in_order(self, columns))

    def part(self, rows: int, group: int | None = None, columns: Collection[str] | None = None) -> Iterator[Any]:
        """Record batches of at most `rows` rows, of one row group or of all."""
        groups = None if group is None else [group]
        yield from self._file.iter_batches(rows, row_groups=groups, columns=_in_order(self, columns))

    def count(self) -> int:
        return int(self.footer.num_rows)


class ArrowRows(OpenFile):
    def __init__(self, stream: Any) -> None:
        self._stream, self.schema = stream, ipc.open_file(stream).schema

    def batches(self, columns: Collection[str] | None = None) -> Iterator[Any]:
        chosen = [index for index, name in enumerate(self.schema.names) if columns is None or name in columns]
        whole = columns is None or not chosen  # no field at all would be taken for every one
        reader = ipc.open_file(
            self._stream, options=ipc.IpcReadOptions() if whole else ipc.IpcReadOptions(included_fields=chosen)
        )
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            yield batch if columns is None else batch.select(_in_order(self, columns))


class CsvRows(OpenFile):
    """A file of comma- or tab-separated values with a line of names, read whole: all of it tells the types."""

    is_csv = True

    def __init__(self, stream: Any, delimiter: str) -> None:
        self._stream, self._delimiter = stream, delimiter
        self.schema = self._read(None).schema

    def batches(self, columns: Collection[str] | None = None) -> Iterator[Any]:
        names = _in_order(self, columns)
        yield from self._read(names).to_batches(max_chunksize=1 << 16) if names is None or names else ()

    def _read(self, names: list[str] | None) -> Any:
        self._stream.seek(0)
        return csv.read_csv(
            self._stream,
            parse_options=csv.ParseOptions(delimiter=self._delimiter),
            convert_options=csv.ConvertOptions(include_columns=names, strings_can_be_null=True),
        )


class ArrowStream(OpenFile):
    def __init__(self, stream: Any) -> None:
        self._stream, self.schema = stream, ipc.open_stream(stream).schema

    def batches(self, columns: Collection[str] | None = None) -> Iterator[Any]:
        self._stream.seek(0)
        for batch in ipc.open_stream(self._stream):
            yield batch if columns is None else batch.select(_in_order(self, columns))


def _in_order(file: OpenFile, columns: Collection[str] | None) -> list[str] | None:
    return None if columns is None else [name for name in file.schema.names if name in columns]


def _group_bytes(group: Any, columns: Collection[str] | None) -> int:
    """Bytes of the columns to read of a row group, before they were compressed."""
    if columns is None:
        return int(group.total_byte_size)
    parts = (group.column(index) for index in range(group.num_columns))
    return sum(part.total_uncompressed_size for part in parts if part.path_in_schema.partition(".")[0] in columns)


def source_file_name(file: SourceFile) -> str:
    """The name of a source's file in messages."""
    return f"{file.source} ({file.name})" if file.name != os.path.basename(file.source) else file.source


@contextmanager
def opened(file: SourceFile, *, whole: bool = True, mapped: bool = False) -> Iterator[OpenFile]:
    """A file of a source, to be read. Raises DataError.

    `whole`: it is going to be read from beginning to end; if not, no more of a Parquet file is read than is asked for.
    `mapped`: nor of a local Arrow file; the process ends should the file be cut meanwhile, so it is not the driver.
    """
    where = source_file_name(file)
    try:
        with open_file(file, mapped=mapped) as stream:
            magic = stream.read(6)
            stream.seek(0)
            if magic.startswith(b"PAR1"):
                options: dict[str, Any] = {} if whole else {"buffer_size": 1 << 16, "pre_buffer": False}
                yield ParquetRows(pq.ParquetFile(stream, **options))
            elif magic == b"ARROW1":
                yield ArrowRows(stream)
            elif magic.startswith(STREAM):
                yield ArrowStream(stream)
            elif file.name.endswith((".csv", ".tsv")):
                yield CsvRows(stream, "\t" if file.name.endswith(".tsv") else ",")
            else:
                raise DataError(
                    f"data {where!r} is neither a Parquet nor an Arrow IPC file; "
                    "write it with DataFrame.to_parquet() or pyarrow.parquet.write_table(); a CSV ends in .csv"
                )
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"data {where!r} cannot be read: {error}") from error


def count_rows(source: str) -> int:
    """Rows of a source, from its files' metadata; a stream has none, and is read. Raises DataError."""
    if source.startswith(builtin.SCHEME):
        return builtin.n_rows(source)
    return sum(_rows_of(file) for file in list_files(source))


def _rows_of(file: SourceFile) -> int:
    with opened(file, whole=False) as reader:
        return reader.count()
