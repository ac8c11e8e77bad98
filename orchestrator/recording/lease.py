"""Prevents a second driver of a sweep in a bucket, where files cannot be locked: a lease that must be renewed.

    sweeps/<name>/lease/<random name>.json    the claim of one driver, which it rewrites every `RENEW_S` seconds

pyarrow has no conditional write for any store. But S3, Google's and Azure's storage all guarantee that a listing shows
everything written before it, and this is sufficient: a driver writes its claim, then lists, and holds the lease only if
it saw no other claim. If two drivers do so at the same time, at least the later one to list sees the other; if both see
each other, the one with the greater name withdraws. A claim is removed as a dead driver's if it was not renewed for
`EXPIRES_S` seconds, by the store's own clock, or if its process on this same machine has ended.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import uuid
from pathlib import Path

from pydantic import ValidationError

from trainables.config.base import FrozenResult
from trainables.errors import ParetuneError
from trainables.seal import DamagedFileError
from trainables.storage import Storage, StorageError, sweep_file

RENEW_S = 15.0
EXPIRES_S = 60.0
LEASE_POLL_SECONDS = 1.0  # seconds between two checks while waiting


class SweepIsRunningError(ParetuneError, RuntimeError):
    """Another driver is running this sweep."""

    def __init__(self, sweep: str, storage: Storage, holder: str) -> None:
        running = f"sweep {sweep!r} in {storage.label} is being run by {holder}"
        super().__init__(f"{running}; wait until that run has ended, or stop it")


class Claim(FrozenResult):
    holder: str  # `process 12 on host`
    since: str  # UTC
    machine: str  # boot and process namespace in which its process id is valid; empty if unknown
    pid: int
    is_held: bool = False
    renewals: int = 0


def own_name() -> str:
    """This driver's name in messages."""
    return f"process {os.getpid()} on {socket.gethostname()}"


class Lease:
    """A lease, held until it is closed, or until another driver takes it over because this one seemed dead."""

    def __init__(self, storage: Storage, sweep: str) -> None:
        """Raises SweepIsRunningError. Waits up to `EXPIRES_S` seconds if another driver may just have been killed."""
        self._storage, self._sweep = Storage(storage.uri), sweep  # a separate one, as the driver's may wait for retries
        self._folder, self._own = sweep_file(sweep, "lease"), f"{uuid.uuid4().hex}.json"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self._claim = Claim(holder=own_name(), since=since, machine=_machine(), pid=os.getpid())
        self._lost_to: str | None = None
        self._closed = threading.Event()
        try:
            self._take()
        except BaseException:
            self._withdraw()
            raise
        self._thread = threading.Thread(target=self._renew_again_and_again, name="paretune-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises SweepIsRunningError if another driver has taken the lease over."""
        if self._lost_to is not None:
            raise SweepIsRunningError(self._sweep, self._storage, self._lost_to)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._withdraw()

    def _take(self) -> None:
        seen: dict[str, Claim] = {}
        while True:
            self._write()
            others = self._others()
            for name, claim in others.items():
                if claim.is_held and claim.renewals != seen.setdefault(name, claim).renewals:  # its driver is alive
                    raise SweepIsRunningError(self._sweep, self._storage, f"{claim.holder} since {claim.since} UTC")
            if not others:
                break
            if any(claim.is_held and claim is seen[name] for name, claim in others.items()):
                wait = f"waiting up to {EXPIRES_S:.0f} s to see whether {others[min(others)].holder} still runs it"
                print(f"paretune: {wait}", file=sys.stderr)
            if min(others) < self._own:
                self._withdraw()
            time.sleep(LEASE_POLL_SECONDS)
        self._write(is_held=True)

    def _renew_again_and_again(self) -> None:
        renewed = time.monotonic()
        while self._lost_to is None and not self._closed.wait(RENEW_S):
            with contextlib.suppress(StorageError):  # the code that writes results reports this error
                if time.monotonic() - renewed > EXPIRES_S:  # another driver may hold it by now: check before writing
                    self._look(is_late=True)
                if self._lost_to is None:
                    self._write(renewals=self._claim.renewals + 1)
                    renewed = time.monotonic()
                    self._look()

    def _look(self, *, is_late: bool = False) -> None:
        for name, claim in self._others().items():
            if claim.is_held and (is_late or name < self._own):
                self._lost_to = claim.holder
                return
        if is_late and self._own not in self._storage.times(self._folder):
            self._lost_to = "another driver, which considered this one dead"

    def _others(self) -> dict[str, Claim]:
        """The claims of other live drivers; claims of dead ones are removed. To be called after writing the own
        claim.
        """
        times = self._storage.times(self._folder)
        now = times.get(self._own, max(times.values(), default=0.0))
        others = {}
        for name in sorted(set(times) - {self._own}):
            claim = self._read(name)
            if claim is not None and (now - times[name] > EXPIRES_S or _has_ended(claim)):
                self._storage.remove(f"{self._folder}/{name}")
            elif claim is not None:
                others[name] = claim
        return others

    def _read(self, name: str) -> Claim | None:
        try:
            return Claim.model_validate_json(self._storage.read_sealed(f"{self._folder}/{name}"))
        except FileNotFoundError:
            return None
        except StorageError:  # it is just being rewritten or removed, and will be checked again
            return Claim(holder="another process", since="now", machine="", pid=0)
        except (DamagedFileError, ValidationError):
            return Claim(holder="another process", since="some time", machine="", pid=0, is_held=True)

    def _write(self, **changes: object) -> None:
        self._claim = self._claim.model_copy(update=changes)
        self._storage.write_sealed(f"{self._folder}/{self._own}", self._claim.model_dump_json().encode())

    def _withdraw(self) -> None:
        with contextlib.suppress(StorageError):
            self._storage.remove(f"{self._folder}/{self._own}")


def _machine() -> str:
    """The id of a machine's boot and process namespace: processes with the same id can see each other."""
    with contextlib.suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _has_ended(claim: Claim) -> bool:
    if not claim.machine or claim.machine != _machine():
        return False
    try:
        os.kill(claim.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
