"""What one test has compiled no other compiles again, nor does the next run: most of it is the same small models."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tests.support.places import ROOT

INDUCTOR = ROOT / ".cache" / "inductor"  # where torch keeps what it has compiled


def cache_in(folder: Path) -> Path:
    """A node's cache folder, new but for what is compiled."""
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    INDUCTOR.mkdir(parents=True, exist_ok=True)
    link = cache / "inductor"
    if not link.exists():
        link.unlink(missing_ok=True)  # to a clone that is gone
        with suppress(FileExistsError):  # another process was quicker
            link.symlink_to(INDUCTOR)
    return cache
