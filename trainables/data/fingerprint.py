"""Fingerprints of data and files: a trial's identity changes when their content does. Imports no torch."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from trainables.data import builtin
from trainables.data.digest import remembered, sha256
from trainables.data.sources import DataError, SourceFile, list_files, local_path, real_files
from trainables.errors import ParetuneError

__all__ = [
    "DataError",
    "all_together",
    "check_unchanged",
    "default_cache",
    "file_fingerprint",
    "fingerprint",
    "is_kept_by_programs",
    "overlap",
    "together",
    "writable_cache",
]


NO_HOME = (
    "there is no home folder: HOME is not set, and this user is unknown on this machine. Set "
    "PARETUNE_CACHE, or HOME, to a folder that can be written"
)


class NoHomeError(ParetuneError, OSError):
    """There is no place for this user's files: it is unknown, or cannot be written."""


def default_cache() -> Path:
    """This node's cache: PARETUNE_CACHE, or ~/.cache/paretune. Raises NoHomeError."""
    try:
        return Path(os.environ.get("PARETUNE_CACHE") or "~/.cache/paretune").expanduser().absolute()
    except RuntimeError as error:
        raise NoHomeError(NO_HOME) from error


def writable_cache() -> Path:
    """The same, made and looked at. Raises NoHomeError."""
    cache = default_cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if not os.access(cache, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise NoHomeError(
            f"the folder for converted data, {cache}, cannot be written ({error.strerror}): set PARETUNE_CACHE to one "
            "that can"
        ) from error
    return cache


def fingerprint(source: str | Path, cache: Path | None = None) -> str:
    """32 hexadecimal digits that stand for the content of one source (an absolute path or a URI; see `resolve`).

    Local files are read and hashed, in the order of their names; where they lie and what they are called does not
    count. The hash of a file is kept in `cache` under its size and times, so asking again reads nothing. Behind a
    network, reading everything would cost too much: there, paths, sizes and times stand for the content.
    Raises DataError.
    """
    text = str(source)
    if text.startswith(builtin.SCHEME):
        return builtin.builtin_fingerprint(text)
    digest = hashlib.sha256()
    for file in list_files(text):
        is_local = local_path(file.source) is not None
        entry = _content(file.path, cache or default_cache()) if is_local else _stamp(file)
        digest.update(f"{entry}\n".encode())
    return digest.hexdigest()[:32]


def file_fingerprint(file: str, cache: Path | None = None) -> str:
    """32 hexadecimal digits for the content of one of a task's `files` (an absolute path): cached like data's.

    A folder stands for all files in it and below it, with their names; `is_kept_by_programs` says which are passed
    over. Raises DataError.
    """
    path = Path(file)
    if not path.exists():
        raise DataError(f"{file!r} does not exist; a relative path starts at the folder of the task's module")
    digest = hashlib.sha256()
    for name, one in sorted(_below(path)) if path.is_dir() else [("", path)]:
        digest.update(f"{name} {_content(one, cache or default_cache())}\n".encode())
    return digest.hexdigest()[:32]


def is_kept_by_programs(name: str) -> bool:
    """Whether a file, by its name relative to a folder, is there for programs: `.git/index`, `__pycache__/x.pyc`."""
    return any(part.startswith(".") or part == "__pycache__" for part in Path(name).parts)


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    for root, _, names in os.walk(folder):  # links to folders are not followed: they may lead in a circle
        for path in (Path(root, name) for name in names):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not is_kept_by_programs(name):
                yield name, path


def together(fingerprints: Mapping[str, str]) -> str:
    """One fingerprint that stands for several under their names."""
    return hashlib.sha256(json.dumps(fingerprints, sort_keys=True).encode()).hexdigest()[:32]


def all_together(splits: Mapping[str, str], files: Iterable[str]) -> str:
    """One fingerprint for all that a task reads: those of its three sets of data, and of its `files` in their order."""
    return together({**splits, **{f"files[{number}]": one for number, one in enumerate(files)}})


def check_unchanged(sources: Mapping[str, str], files: Sequence[str], planned: str, cache: Path) -> None:
    """Raises DataError if a task's sources, by name of the split, or `files` differ from those of the trial's plan.

    Files may be edited while a sweep runs, and may differ from machine to machine; what comes with Python and
    scikit-learn does not. All three sets are looked at, whichever is used: they are what the trial's id stands for.
    """
    if not files and all(source.startswith(builtin.SCHEME) for source in sources.values()):
        return
    splits = {split: fingerprint(source, cache) for split, source in sources.items()}
    if all_together(splits, [file_fingerprint(file, cache) for file in files]) != planned:
        what = "the data, or one of the task's files," if files else "the data"
        raise DataError(
            f"{what} differs from the state that this trial was planned with: it has changed since, or differs on this "
            f"machine ({', '.join([*sources.values(), *files])}). If it changed, run the same command again to plan "
            "with the new state; if the machines differ, make them equal and add --retry-failed"
        )


def overlap(sources: Mapping[str, str], fingerprints: Mapping[str, str]) -> str | None:
    """Why two of the sources, by name of the split, are the same data as far as can be seen; None if they are not.

    They are where they have a file in common, or the same content. Raises DataError.
    """
    files = {
        split: set() if source.startswith(builtin.SCHEME) else real_files(source) for split, source in sources.items()
    }
    for one, other in itertools.combinations(sources, 2):
        if shared := sorted(files[one] & files[other]):
            more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            return f"{one} and {other} share the file {shared[0]}{more}"
        if fingerprints[one] == fingerprints[other]:
            return f"{one} and {other} have the same content: {sources[one]} and {sources[other]}"
    return None


def _stamp(file: SourceFile) -> str:
    """Without the URI's user and query: a password that was changed, or another endpoint, is the same data."""
    return f"{file.source.partition(':')[0]} {file.path} {file.size} {file.mtime_ns}"


def _content(file: str | Path, cache: Path) -> str:
    return remembered(Path(file), cache, "fingerprints", sha256)
