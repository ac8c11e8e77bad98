"""One process of a node at a time: a lock that the kernel takes back when its holder dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.data.sources import DataError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock file `path` in the node's cache, hold it in the block. Raises DataError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise DataError(f"the cache {path.parent} cannot be written: {error}; set PARETUNE_CACHE") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise DataError(
                f"the cache {path.parent} cannot be locked: {error}; set PARETUNE_CACHE to a folder on its own disk"
            ) from error
        yield  # closing the file lets go
