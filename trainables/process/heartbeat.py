"""Detects trials that hang: loops give a heartbeat at every step and batch, and a thread of the worker checks them.

A trial that hangs (a data loader that waits for a lock, a collective without its peers, a storage that does not answer)
cannot end itself, so its process is ended. Imports no torch.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LISTEN_S = 1.0  # longest time between two checks; there are at least ten within the limit

_last_beat = 0.0


def beat() -> None:
    """Report progress: a step, a batch or a file."""
    global _last_beat
    _last_beat = time.monotonic()


@contextmanager
def listening(limit_s: float, stalled: Callable[[str], None]) -> Iterator[None]:
    """In the block, `stalled` is called once, from a thread, if there is no heartbeat for `limit_s` seconds.

    Its argument is the current traceback, as lines, of the thread that entered the block.
    """
    watched, over = threading.get_ident(), threading.Event()
    beat()

    def listen() -> None:
        while not over.wait(min(LISTEN_S, limit_s / 10)):
            if time.monotonic() - _last_beat > limit_s:
                frame = sys._current_frames().get(watched)
                stalled("".join(traceback.format_stack(frame)))
                return

    thread = threading.Thread(target=listen, name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
