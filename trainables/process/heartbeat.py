"""Whether a trial gets on: its loops beat at every step and batch, and a thread of the worker listens.

A trial that hangs (a data loader that waits for a lock, a collective without its peers, a storage that does not answer)
cannot end itself, so the process is ended. Imports no torch.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LISTEN_S = 1.0  # at least so often, and ten times within the limit

_last_beat = 0.0


def beat() -> None:
    """A step, a batch, a file: something was done."""
    global _last_beat
    _last_beat = time.monotonic()


@contextmanager
def listening(limit_s: float, stalled: Callable[[str], None]) -> Iterator[None]:
    """In the block, `stalled` is called from a thread, once, if nothing beats for `limit_s` seconds.

    It is given where the thread that entered the block is then: lines of a traceback.
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
