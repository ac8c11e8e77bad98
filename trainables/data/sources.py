"""The sources of data: the files of a source, on the local disk or behind any `pyarrow.fs` URI.

A source is a file, a folder, a pattern (`data/train-*.parquet`, `s3://bucket/**/part-*`), or several of these, written
as one text in the form of a JSON list, which no absolute path or URI begins like.

Imports no torch, and pyarrow only for a source that is not local, because a plan reads sources too.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from trainables.errors import InputError
from trainables.redact import without_credentials

SPLITS = ("train", "validation", "test")
DATA_SUFFIXES = (".parquet", ".pq", ".arrow", ".ipc", ".feather", ".csv", ".tsv")

SAVED_SETS, SAVED_STATE = "dataset_dict.json", "state.json"  # that `datasets.save_to_disk` writes beside its files


class DataError(InputError):
    """Data that cannot be used: the message names the place, the problem and the way out, without passwords."""

    def __init__(self, message: str) -> None:
        super().__init__(without_credentials(message))


@dataclass(frozen=True)
class SourceFile:
    """One data file. `name` is relative to `source`, one of those given; `path` is what its filesystem opens."""

    source: str
    name: str
    path: str
    size: int
    mtime_ns: int | None  # None where the filesystem does not tell


def absolute_source(source: str | Path | Sequence[str | Path], folder: Path) -> str:
    """An absolute path, the URI as it is, or a JSON list of these for several sources.

    A relative path starts at `folder`: that of the module of the task.
    """
    if not isinstance(source, str | Path):
        return json.dumps([absolute_source(one, folder) for one in source])
    text = str(source)
    return text if "://" in text else os.path.abspath(folder / Path(text).expanduser())


def is_source(value: object) -> bool:
    """Whether a value may be the `train`, `validation` or `test` of a task."""
    one = [value] if isinstance(value, str | Path) else value
    return isinstance(one, list | tuple) and bool(one) and all(isinstance(at, str | Path) and str(at) for at in one)


def single_sources(source: str) -> list[str]:
    """The sources that one text holds: itself, or those of a list."""
    return [str(one) for one in json.loads(source)] if source.startswith("[") else [source]


def local_path(source: str) -> Path | None:
    """The path of a single local source (also one written as `file://`); None for one behind a network."""
    if "://" not in source:
        return Path(source)
    parts = urlsplit(source)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def list_files(source: str) -> list[SourceFile]:
    """The data files of a source, in the order of their names: one file, or all those in a folder and below it.

    Of several sources, those of each in turn. In a folder and for a pattern, names that begin with `.` or `_` and
    endings other than DATA_SUFFIXES are passed over. Of a folder that `datasets.save_to_disk` wrote, the files that it
    lists. Raises DataError when there is none, when the place cannot be reached, or when one file is named twice.
    """
    found = [file for one in single_sources(source) for file in _files_of(one)]
    seen: set[str] = set()
    for file in found:
        if file.path in seen:
            raise DataError(f"data {source!r} names the file {file.path} twice; its rows would count twice")
        seen.add(file.path)
    return found


def _files_of(source: str) -> list[SourceFile]:
    path = local_path(source)
    files = list(_local(source, path) if path else _remote(source))
    if not files:
        is_folder = path.exists() if path else "*" not in source
        what = "is a folder without data files" if is_folder else "matches no data file"
        raise DataError(f"data {source!r} {what}; data files end in {', '.join(DATA_SUFFIXES)}")
    for file in files:
        _refuse_partitions(source, file)
    return sorted(files, key=lambda file: file.name)


def real_path(source: str) -> str:
    """Where a single local source really is, whatever links or `file://` lead there; any other URI as it is."""
    path = local_path(source)
    return source if path is None else os.path.realpath(path)


def real_files(source: str) -> set[str]:
    """The files of a source under names that two sources share only where they share the file. Raises DataError."""
    return {
        real_path(file.path)
        if local_path(file.source) is not None
        else f"{file.source.partition(':')[0]}://{file.path}"  # the rest of a URI may be another key to the same bucket
        for file in list_files(source)
    }


def description_files(source: str) -> set[str]:
    """The files that may say which data files a source's folders hold, and say nothing else. Raises DataError."""
    folders = {os.path.dirname(file.path) for file in list_files(source) if local_path(file.source) is not None}
    folders |= {str(path) for one in single_sources(source) if (path := local_path(one)) is not None}
    return {os.path.realpath(Path(folder, name)) for folder in folders for name in (SAVED_SETS, SAVED_STATE)}


def open_file(file: SourceFile, *, mapped: bool = False) -> Any:
    """A `pyarrow.NativeFile` to read from, at any position. `mapped`: a local one is mapped into memory."""
    import pyarrow as pa

    if not local_path(file.source):
        return _filesystem(file.source)[0].open_input_file(file.path)
    return pa.memory_map(file.path) if mapped else pa.OSFile(file.path, "rb")


def _local(source: str, path: Path) -> Iterator[SourceFile]:
    if path.is_dir():
        yield from _below(source, path)
    elif path.exists():
        yield _local_file(source, path.name, str(path))
    elif _is_pattern(str(path)):
        start = _fixed_part(str(path))
        for found in sorted(glob.glob(str(path), recursive=True)):
            name = os.path.relpath(found, start).replace(os.sep, "/")
            if not _is_hidden(name):
                if os.path.isdir(found):
                    yield from (replace(file, name=f"{name}/{file.name}") for file in _below(source, Path(found)))
                elif found.endswith(DATA_SUFFIXES):
                    yield _local_file(source, name, found)
    else:
        raise DataError(f"data {str(path)!r} does not exist; a relative path starts at the folder of the task's module")


def _below(source: str, path: Path) -> Iterator[SourceFile]:
    """The data files in a local folder and below it."""
    if (saved := _saved_to_disk(path)) is not None:
        yield from (_local_file(source, name, str(path / name)) for name in saved)
        return
    top = path.resolve()
    seen: set[str] = set()  # links may lead to the same folder, or in a circle
    for folder, subfolders, names in os.walk(path, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(
            name for name in subfolders if not (name.startswith((".", "_")) or _leads_back(Path(folder, name), top))
        )
        for name in names:
            relative = os.path.relpath(os.path.join(folder, name), path).replace(os.sep, "/")
            if _is_data(relative):
                yield _local_file(source, relative, os.path.join(folder, name))


def _saved_to_disk(folder: Path) -> list[str] | None:
    """The files of a data set that `datasets.save_to_disk` wrote there, beside which its caches may lie; None if none.

    Raises DataError for a folder of several sets, of which one is to be named.
    """
    if (several := _read_json(folder / SAVED_SETS)) is not None:
        sets = [str(name) for name in several.get("splits", [])]
        raise DataError(
            f"data {str(folder)!r} holds several sets ({', '.join(sets)}): name the folder of one, such as "
            f"{str(folder / (sets or ['train'])[0])!r}"
        )
    listed = (_read_json(folder / SAVED_STATE) or {}).get("_data_files")  # such a file may be anybody's
    if not isinstance(listed, list) or not all(isinstance(one, dict) and "filename" in one for one in listed):
        return None
    return [str(one["filename"]) for one in listed]


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _leads_back(folder: Path, source: Path) -> bool:
    """Whether it is a link to what is seen without it, or to a folder around the whole source."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    if target.is_relative_to(source):
        return not any(part.startswith((".", "_")) for part in target.relative_to(source).parts)
    return source.is_relative_to(target)


def _local_file(source: str, name: str, path: str) -> SourceFile:
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"data {path!r} cannot be read: {error.strerror}") from error
    return SourceFile(source, name, path, status.st_size, status.st_mtime_ns)


def _remote(source: str) -> Iterator[SourceFile]:
    from pyarrow import fs

    filesystem, root = _filesystem(source)
    try:
        info = filesystem.get_file_info(root)
        if info.type == fs.FileType.NotFound and not _is_pattern(root):
            raise DataError(f"data {source!r} does not exist")
        if info.type == fs.FileType.File:
            yield SourceFile(source, info.base_name, info.path, info.size, info.mtime_ns)
            return
        pattern = root if info.type == fs.FileType.NotFound else None
        top = root if pattern is None else _fixed_part(root)
        for entry in filesystem.get_file_info(fs.FileSelector(top, recursive=True)):
            name = str(PurePosixPath(entry.path).relative_to(top))
            if entry.type == fs.FileType.File and _is_data(name) and (pattern is None or _fits(entry.path, pattern)):
                yield SourceFile(source, name, entry.path, entry.size, entry.mtime_ns)
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
    return name.endswith(DATA_SUFFIXES) and not _is_hidden(name)


def _is_hidden(name: str) -> bool:
    """Whether a name, or that of a folder on the way, is kept by programs: `.crc`, `_SUCCESS`, `_metadata`."""
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path)


def _fixed_part(pattern: str) -> str:
    """The folder down to which a pattern names all."""
    parts = pattern.split("/")
    fixed = next(index for index, part in enumerate(parts) if _is_pattern(part))
    return "/".join(parts[:fixed]) or "/"


def _fits(path: str, pattern: str) -> bool:
    """Whether a path is one that a pattern stands for: `*` and `?` within a name, `**` for folders on the way."""

    def fit(names: list[str], parts: list[str]) -> bool:
        if not parts:
            return not names
        if parts[0] == "**":
            return any(fit(names[skipped:], parts[1:]) for skipped in range(len(names) + 1))
        return bool(names) and fnmatchcase(names[0], parts[0]) and fit(names[1:], parts[1:])

    return fit(path.split("/"), pattern.split("/"))


def _refuse_partitions(source: str, file: SourceFile) -> None:
    for part in file.name.split("/")[:-1]:
        if "=" in part:
            column = part.split("=")[0]
            raise DataError(
                f"data {source!r} keeps column {column!r} in the names of its folders ({part}); "
                f"write {column!r} into the files instead"
            )
