"""Ctrl-C and SIGTERM: both shut a sweep down in order, and its command resumes it later.

Spot instances, `docker stop`, Slurm, Kubernetes and `ray job stop` send SIGTERM, and kill the process if it has not
ended ten or thirty seconds later. A second Ctrl-C also means that the user does not want to wait. In these cases the
shutdown is hurried.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from orchestrator.exit_codes import INTERRUPTED, TERMINATED

LIMIT_SECONDS = 9.0  # most seconds of a hurried shutdown: `docker stop` kills after 10
AGAIN_SECONDS = 0.05
_ENDS_A_SWEEP = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """The signals received so far. Each raises KeyboardInterrupt in the main thread, as Ctrl-C does by default."""

    def __init__(self, *, may_leave: bool = True) -> None:
        """`may_leave`: whether the process may be ended if a hurried shutdown takes too long."""
        self._may_leave = may_leave
        self._times = 0
        self._is_terminated = False
        self._was_swallowed = False
        self._limit: threading.Timer | None = None

    @property
    def is_hurried(self) -> bool:
        """Whether the process will be killed soon, or the user does not want to wait."""
        return self._is_terminated or self._times > 1

    @property
    def exit_code(self) -> int:
        return TERMINATED if self._is_terminated else INTERRUPTED

    def heed(self, number: int, frame: FrameType | None) -> None:
        """The handler of both signals. It ignores further signals during a hurried shutdown."""
        if self._was_swallowed:
            self._was_swallowed = False
            raise KeyboardInterrupt
        if self.is_hurried:
            return
        self._times += 1
        self._is_terminated = number == signal.SIGTERM
        if self._may_leave and (self._is_terminated or self._times > 1):
            self._limit = threading.Timer(LIMIT_SECONDS, self._leave)
            self._limit.daemon = True
            self._limit.start()
        raise KeyboardInterrupt

    def end(self) -> None:
        """End the shutdown and cancel its time limit."""
        if self._limit is not None:
            self._limit.cancel()

    def raise_again(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Raise the interrupt again later: Python discards an exception that is raised inside a finaliser."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._was_swallowed = True
            main = threading.main_thread().ident or 0
            threading.Timer(AGAIN_SECONDS, signal.pthread_kill, [main, signal.SIGINT]).start()
        else:
            sys.__unraisablehook__(unraisable)

    def _leave(self) -> None:
        """End the process, as something does not answer. The next run records the rest."""
        print(
            "\nparetune: stopped at once; MLflow may show runs as running until the same command resumes the sweep",
            file=sys.stderr,
            flush=True,
        )
        os._exit(self.exit_code)


@contextmanager
def heeding_signals(*, may_leave: bool = True) -> Iterator[Interrupts]:
    """In the block, both signals raise KeyboardInterrupt in the main thread; only the main thread can set this up."""
    interrupts = Interrupts(may_leave=may_leave)
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a shell's background process: Ctrl-C is not for it
    heeded = _ENDS_A_SWEEP[ignored:]
    before = {number: signal.signal(number, interrupts.heed) for number in heeded}
    hook, sys.unraisablehook = sys.unraisablehook, interrupts.raise_again
    try:
        yield interrupts
    finally:
        interrupts.end()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
