"""A storage that is full, read-only or out of reach makes a sweep pause, and then end. No trial fails.

The driver waits for it where it stands (`PatientStorage`), and a trial is run again from its checkpoint, until the
storage takes what it should or `PATIENCE_S` are over. Then the sweep ends with StorageFailsError: nothing of it is
lost, and the same command goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from trainables.errors import ParetuneError
from trainables.storage import Storage, StorageError, T

PATIENCE_S = 180.0  # so long a storage may fail without a break before the sweep ends
TRY_AGAIN_S = 5.0


class StorageFailsError(ParetuneError, RuntimeError):
    """The storage has failed for too long; the sentence gives the way out."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason}. That has lasted for {PATIENCE_S:.0f} s. Nothing is lost: when the storage works again, the "
            "same command goes on from here"
        )


class Patience:
    """Who waits for the storage, and since when. Tells of the beginning of a pause, and of its end."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._since: dict[str, float] = {}

    def failed(self, who: str, reason: str) -> None:
        """Returns if it may be tried again after a while. Raises StorageFailsError if it was for long enough."""
        now = time.monotonic()
        if not self._since:
            self._tell(f"paused: {reason}; tried again for up to {PATIENCE_S:.0f} s")
        if now - self._since.setdefault(who, now) >= PATIENCE_S:
            raise StorageFailsError(reason)

    def works(self, who: str) -> None:
        if self._since.pop(who, None) is not None and not self._since:
            self._tell("the storage works again: the sweep goes on")


class PatientStorage(Storage):
    """The driver's storage: once a sweep is running, what fails is tried again before it is raised."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._patience: Patience | None = None
        self._lock = threading.Lock()

    def be_patient(self, tell: Callable[[str], None]) -> None:
        """From now on: before, who gives a command is there and hears at once that it cannot be obeyed."""
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
