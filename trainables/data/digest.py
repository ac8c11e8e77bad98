"""Digests of local files, without reading them more often than they change. Imports no torch."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

from trainables.error_text import TrialWarning
from trainables.seal import DamagedFileError, sealed, unsealed

SETTLED_SECONDS = 2.0  # a file touched more recently may change again without its time stamp showing it
DIGITS = 32  # hexadecimal, of the digest in a file's name


def sha256(path: Path) -> str:
    """Of a local file: 64 hexadecimal digits."""
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def remembered(
    path: Path, cache: Path, kind: str, read: Callable[[Path], str], *, until_next_start: bool = False
) -> str:
    """What `read` finds in a local file, from `cache` if size, times and inode are those that it had then.

    What changes on a disk by itself changes none of them. `until_next_start`: so once the machine was started anew, and
    the file is no longer in memory, it is read again.
    """
    real = os.path.realpath(path)
    status = os.stat(real)
    key = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, _boot() if until_next_start else ""]
    entry = cache / kind / f"{hashlib.sha256(real.encode()).hexdigest()[:32]}.json"
    try:
        known = json.loads(unsealed(entry.read_bytes(), str(entry)))
        if known["key"] == key:
            return str(known["found"])
    except (OSError, ValueError, KeyError, TypeError, DamagedFileError):
        pass  # not there, or damaged: read again
    found = read(Path(real))
    if time.time() - max(status.st_mtime, status.st_ctime) > SETTLED_SECONDS:
        _keep(entry, {"key": key, "found": found, "path": real})
    return found


@functools.cache
def _boot() -> str:
    """Of this start of the machine; empty where the system does not tell."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _keep(entry: Path, value: dict[str, object]) -> None:
    """Write to the cache if possible: with a full or read-only disk, the result is computed again next time."""
    temporary = entry.with_name(f"{entry.name}.{uuid.uuid4().hex}.tmp")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(sealed(json.dumps(value).encode()))
        os.replace(temporary, entry)
    except OSError:
        temporary.unlink(missing_ok=True)


def with_digest(path: Path, stem: Path) -> Path:
    """The name of a finished file: `stem`, the digest of its content, and its own suffix."""
    return stem.with_name(f"{stem.name}-{sha256(path)[:DIGITS]}{path.suffix}")


def intact_file(stem: Path, suffix: str, cache: Path) -> Path | None:
    """The file that `with_digest` has named, if it exists and its content still has the digest in its name."""
    for path in _named(stem, suffix):
        with contextlib.suppress(FileNotFoundError):  # another process has found it damaged
            if path.stem.endswith(remembered(path, cache, "digests", sha256, until_next_start=True)[:DIGITS]):
                return path
    return None


def clear_away(stem: Path, suffix: str) -> None:
    """Remove and name those that `whole` did not take. To be called by the one who then writes it anew."""
    for path in _named(stem, suffix):
        path.unlink()
        warnings.warn(f"{path} was damaged; it was written again", TrialWarning, stacklevel=2)


def _named(stem: Path, suffix: str) -> list[Path]:
    return sorted(stem.parent.glob(f"{stem.name}-*{suffix}"))
