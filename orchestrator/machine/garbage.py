"""Python's collector of garbage, held back while nothing but what is kept is made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """In the block, no garbage is looked for: among thousands of results that are being read there is none, and to look
    through them again whenever there are some more takes several times as long as to read them.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
