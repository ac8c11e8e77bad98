"""Where data is: which files a source stands for, on the local disk or behind any `pyarrow.fs` URI.

Imports no torch, and pyarrow only for a source that is not local: a plan looks at sources too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from trainables.errors import InputError
from trainables.redact import without_credentials

SPLITS = ("train", "validation", "test")
DATA_SUFFIXES = (".parquet", ".pq", ".arrow", ".ipc", ".feather")


class DataError(InputError):
    """Data that cannot be used: the message names the place, what is wrong and the way out, and no password."""

    def __init__(self, message: str) -> None:
        super().__init__(without_credentials(message))


@dataclass(frozen=True)
class SourceFile:
    """One data file. `name` is relative to its source, `path` is what its filesystem opens."""

    name: str
    path: str
    size: int
    mtime_ns: int | None  # None where the filesystem does not tell


def absolute_source(source: str | Path, folder: Path) -> str:
    """An absolute path, or the URI as it is. A relative path starts at `folder`: that of the module of the task."""
    text = str(source)
    return text if "://" in text else os.path.abspath(folder / Path(text).expanduser())


def local_path(source: str) -> Path | None:
    """The path of a local source (also one written as `file://`); None for one behind a network."""
    if "://" not in source:
        return Path(source)
    parts = urlsplit(source)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def list_files(source: str) -> list[SourceFile]:
    """The data files of a source, in the order of their names: one file, or all those in a folder and below it.

    In a folder, names that begin with `.` or `_` and endings other than SUFFIXES are passed over.
    Raises DataError when there is none, or when the place cannot be reached.
    """
    path = local_path(source)
    files = list(_local(path) if path else _remote(source))
    if not files:
        raise DataError(f"data {source!r} is a folder without data files; data files end in {', '.join(DATA_SUFFIXES)}")
    for file in files:
        _refuse_partitions(source, file)
    return sorted(files, key=lambda file: file.name)


def real_path(source: str) -> str:
    """Where a local source really is, whatever links or `file://` lead there; any other URI as it is."""
    path = local_path(source)
    return source if path is None else os.path.realpath(path)


def real_files(source: str) -> set[str]:
    """The files of a source under names that two sources share only where they share the file. Raises DataError."""
    if local_path(source) is not None:
        return {real_path(file.path) for file in list_files(source)}
    scheme = source.partition(":")[0]  # the rest of a URI may be another key or endpoint to the same bucket
    return {f"{scheme}://{file.path}" for file in list_files(source)}


def open_file(source: str, file: SourceFile, *, mapped: bool = False) -> Any:
    """A `pyarrow.NativeFile` to read from, at any position. `mapped`: a local one is mapped into memory."""
    import pyarrow as pa

    if not local_path(source):
        return _filesystem(source)[0].open_input_file(file.path)
    return pa.memory_map(file.path) if mapped else pa.OSFile(file.path, "rb")


def _local(path: Path) -> Iterator[SourceFile]:
    if path.is_dir():
        source = path.resolve()
        seen: set[str] = set()  # links may lead to the same folder, or in a circle
        for folder, subfolders, names in os.walk(path, followlinks=True):
            if (real := os.path.realpath(folder)) in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = sorted(
                name
                for name in subfolders
                if not (name.startswith((".", "_")) or _leads_back(Path(folder, name), source))
            )
            for name in names:
                relative = os.path.relpath(os.path.join(folder, name), path).replace(os.sep, "/")
                if _is_data(relative):
                    yield _local_file(relative, os.path.join(folder, name))
    elif path.exists():
        yield _local_file(path.name, str(path))
    else:
        raise DataError(f"data {str(path)!r} does not exist; {_way_out(str(path))}")


def _way_out(path: str) -> str:
    if any(character in path for character in "*?["):
        return "patterns (*, ?, [) are not looked up: name one file, or a folder that holds this set and no other"
    return "a relative path starts at the folder of the task's module"


def _leads_back(folder: Path, source: Path) -> bool:
    """Whether it is a link to what is seen without it, or to a folder around the whole source."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    if target.is_relative_to(source):
        return not any(part.startswith((".", "_")) for part in target.relative_to(source).parts)
    return source.is_relative_to(target)


def _local_file(name: str, path: str) -> SourceFile:
    status = os.stat(path)
    return SourceFile(name, path, status.st_size, status.st_mtime_ns)


def _remote(source: str) -> Iterator[SourceFile]:
    from pyarrow import fs

    filesystem, root = _filesystem(source)
    try:
        info = filesystem.get_file_info(root)
        if info.type == fs.FileType.NotFound:
            raise DataError(f"data {source!r} does not exist")
        if info.type == fs.FileType.File:
            yield SourceFile(info.base_name, info.path, info.size, info.mtime_ns)
            return
        for entry in filesystem.get_file_info(fs.FileSelector(root, recursive=True)):
            name = str(PurePosixPath(entry.path).relative_to(root))
            if entry.type == fs.FileType.File and _is_data(name):
                yield SourceFile(name, entry.path, entry.size, entry.mtime_ns)
    except OSError as error:
        raise DataError(f"data {source!r} cannot be reached: {error}") from error


def _filesystem(source: str) -> tuple[Any, str]:
    from pyarrow import fs

    try:
        filesystem, root = fs.FileSystem.from_uri(source)
    except (OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"data {source!r} is neither a path nor a URI that pyarrow.fs can open: {error}") from error
    return filesystem, root


def _is_data(name: str) -> bool:
    return name.endswith(DATA_SUFFIXES) and not any(part.startswith((".", "_")) for part in name.split("/"))


def _refuse_partitions(source: str, file: SourceFile) -> None:
    for part in file.name.split("/")[:-1]:
        if "=" in part:
            column = part.split("=")[0]
            raise DataError(
                f"data {source!r} keeps column {column!r} in the names of its folders ({part}); "
                f"write {column!r} into the files instead"
            )
