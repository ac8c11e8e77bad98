"""The forms that a data file may have, and its rows: Parquet, and Arrow's IPC files and streams.

Which one a file is, its first bytes tell. A stream (`datasets.save_to_disk` of Hugging Face writes them) has no list of
its batches, so it is read from its beginning, also where a file would be asked for one batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from trainables.data import builtin
from trainables.data.sources import DataError, SourceFile, list_files, open_file

BATCH_BYTES = 32 << 20  # of rows in memory at a time, where the files allow it
STREAM = b"\xff\xff\xff\xff"  # with which every message of a stream begins


def source_file_name(source: str, file: SourceFile) -> str:
    """The name of a source's file in messages."""
    return f"{source} ({file.name})" if file.name != os.path.basename(source) else source


@contextmanager
def opened(source: str, file: SourceFile, *, whole: bool = True, mapped: bool = False) -> Iterator[Any]:
    """A `pq.ParquetFile`, or a reader of Arrow's. Raises DataError.

    `whole`: it is going to be read from beginning to end; if not, no more of a Parquet file is read than is asked for.
    `mapped`: nor of a local Arrow file; the process ends should the file be cut meanwhile, so it is not the driver.
    """
    where = source_file_name(source, file)
    try:
        with open_file(source, file, mapped=mapped) as stream:
            magic = stream.read(6)
            stream.seek(0)
            if magic.startswith(b"PAR1"):
                yield pq.ParquetFile(stream) if whole else pq.ParquetFile(stream, buffer_size=1 << 16, pre_buffer=False)
            elif magic == b"ARROW1":
                yield ipc.open_file(stream)
            elif magic.startswith(STREAM):
                yield ipc.open_stream(stream)
            else:
                raise DataError(
                    f"data {where!r} is neither a Parquet nor an Arrow IPC file; "
                    "write it with DataFrame.to_parquet() or pyarrow.parquet.write_table()"
                )
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"data {where!r} cannot be read: {error}") from error


def batches(reader: Any) -> Iterator[Any]:
    """All rows of an opened file, as record batches of no more than BATCH_BYTES where its form allows it."""
    if isinstance(reader, pq.ParquetFile):
        size = sum(reader.metadata.row_group(index).total_byte_size for index in range(reader.metadata.num_row_groups))
        rows = BATCH_BYTES * reader.metadata.num_rows // max(size, 1)
        yield from reader.iter_batches(batch_size=min(max(rows, 1), 1 << 16))
    elif isinstance(reader, ipc.RecordBatchStreamReader):
        yield from reader
    else:
        yield from (reader.get_batch(index) for index in range(reader.num_record_batches))


def count_rows(source: str) -> int:
    """Rows of a source, from its files' metadata; a stream has none, and is read. Raises DataError."""
    if source.startswith(builtin.SCHEME):
        return builtin.n_rows(source)
    return sum(_rows_of(source, file) for file in list_files(source))


def _rows_of(source: str, file: SourceFile) -> int:
    with opened(source, file, whole=False) as reader:
        if isinstance(reader, pq.ParquetFile):
            return int(reader.metadata.num_rows)
        if isinstance(reader, ipc.RecordBatchStreamReader):
            return sum(batch.num_rows for batch in reader)
        with open_file(source, file) as stream:  # anew, to read one column alone: the others may be large
            first = ipc.open_file(stream, options=ipc.IpcReadOptions(included_fields=[0]))
            return sum(batch.num_rows for batch in batches(first))
