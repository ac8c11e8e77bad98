"""A storage that is full, read-only or unreachable makes a sweep pause, and then end. No trial fails.

The driver waits (`PatientStorage`), and trials run again from their checkpoints, until the storage works or
`PATIENCE_S` seconds have passed. Then the sweep ends with StorageFailsError: nothing is lost, and the same command
resumes it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from trainables.errors import ParetuneError
from trainables.storage import Storage, StorageError, T

PATIENCE_S = 180.0  # seconds of continuous failure of the storage before the sweep ends
TRY_AGAIN_S = 5.0


class StorageFailsError(ParetuneError, RuntimeError):
    """The storage has failed for too long; the message names the way out."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}. This has lasted for {PATIENCE_S:.0f} s. Nothing is lost: when the storage works again, run the "
            "same command again to resume"
        )


class Patience:
    """Tracks the waiting threads and the start of a pause, and reports the beginning and the end of each pause."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._since: dict[str, float] = {}

    def failed(self, who: str, reason: str) -> None:
        """Wait before another attempt. Raises StorageFailsError if the storage has failed for too long."""
        now = time.monotonic()
        if not self._since:
            self._tell(f"paused: {reason}; retrying for up to {PATIENCE_S:.0f} s")
        if now - self._since.setdefault(who, now) >= PATIENCE_S:
            raise StorageFailsError(reason)

    def works(self, who: str) -> None:
        if self._since.pop(who, None) is not None and not self._since:
            self._tell("the storage works again: the sweep continues")


class PatientStorage(Storage):
    """The driver's storage: once a sweep is running, a failing operation is retried before its error is raised."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._patience: Patience | None = None
        self._lock = threading.Lock()

    def be_patient(self, tell: Callable[[str], None]) -> None:
        """Start retrying. Before that, errors are raised at once, as the user is still present."""
        self._patience = Patience(tell)

    def attempt(self, name: str, act: Callable[[], T]) -> T:
        """Raises StorageFailsError."""
        if self._patience is None:
            return super().attempt(name, act)
        who = threading.current_thread().name
        while True:
            try:
                done = super().attempt(name, act)
            except StorageError as error:
                with self._lock:
                    self._patience.failed(who, str(error))
                time.sleep(TRY_AGAIN_S)
            else:
                with self._lock:
                    self._patience.works(who)
                return done
