"""Ctrl-C and SIGTERM: either ends a sweep in order, and its command goes on from there.

SIGTERM is how machines say it: a spot instance's notice, `docker stop`, Slurm, Kubernetes, `ray job stop`. They kill
what has not ended ten seconds later, or thirty; a person who presses Ctrl-C again is as impatient. Then the farewell is
hurried.
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

LIMIT_SECONDS = 9.0  # of a hurried farewell: `docker stop` kills after 10
AGAIN_SECONDS = 0.05
_ENDS_A_SWEEP = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """What has been asked so far. A signal raises KeyboardInterrupt in the main thread, as Ctrl-C does by itself."""

    def __init__(self, *, may_leave: bool = True) -> None:
        """`may_leave`: whether the process may be ended where a hurried farewell takes too long."""
        self._may_leave = may_leave
        self._times = 0
        self._is_terminated = False
        self._was_swallowed = False
        self._limit: threading.Timer | None = None

    @property
    def is_hurried(self) -> bool:
        """Whether somebody is about to kill this process, or does not want to wait."""
        return self._is_terminated or self._times > 1

    @property
    def exit_code(self) -> int:
        return TERMINATED if self._is_terminated else INTERRUPTED

    def heed(self, number: int, frame: FrameType | None) -> None:
        """The handler of both signals. Once the farewell is hurried, a further signal does not disturb it."""
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
        """The farewell is over: its limit holds no longer."""
        if self._limit is not None:
            self._limit.cancel()

    def raise_again(self, unraisable: sys.UnraisableHookArgs) -> None:
        """What was raised while Python ran a finaliser goes nowhere: it is raised once more, outside."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._was_swallowed = True
            main = threading.main_thread().ident or 0
            threading.Timer(AGAIN_SECONDS, signal.pthread_kill, [main, signal.SIGINT]).start()
        else:
            sys.__unraisablehook__(unraisable)

    def _leave(self) -> None:
        """Something does not answer. What it was to be told is told by the next run."""
        print(
            "\nparetune: stopped at once; MLflow may show runs as running until the same command goes on from here",
            file=sys.stderr,
            flush=True,
        )
        os._exit(self.exit_code)


@contextmanager
def heeding_signals(*, may_leave: bool = True) -> Iterator[Interrupts]:
    """In the block, both signals raise KeyboardInterrupt: in the main thread, which alone can have it so."""
    interrupts = Interrupts(may_leave=may_leave)
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # started in the background by a shell: not for it
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
