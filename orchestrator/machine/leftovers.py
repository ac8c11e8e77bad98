"""Removes the leftovers of a killed driver: the folder of its local Ray, and processes of Ray that outlive it.

Each folder records its owner process. The next run removes the folder if that process has certainly ended: it belongs
to the same boot and the same process namespace (processes of other containers are invisible), and its process id is
free or taken by a later process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from trainables.config.base import FrozenResult

OWNER = "owner.json"


class Owner(FrozenResult):
    """The identity of a process, unique among all processes that a machine has had or will have."""

    pid: int
    started_ticks: int  # start time in clock ticks since boot
    boot: str
    namespace: int


def claim(folder: str) -> None:
    """Record this process as the owner of the folder."""
    owner = _owner(os.getpid())
    if owner is not None:
        Path(folder, OWNER).write_text(owner.model_dump_json())


def clean_up(places: Iterable[str], prefix: str) -> list[str]:
    """Remove the folders of this user's dead drivers, and end processes that still use them. Returns the folders."""
    removed = []
    for place in places:
        with contextlib.suppress(OSError):  # a folder that this user may not list
            for folder in Path(place).glob(f"{prefix}*"):
                if _is_orphaned(folder):
                    _end_those_in(folder)
                    shutil.rmtree(folder, ignore_errors=True)
                    removed.append(str(folder))
    return removed


def _is_orphaned(folder: Path) -> bool:
    try:
        is_own = not folder.is_symlink() and folder.stat().st_uid == os.getuid()
        owner = Owner.model_validate_json((folder / OWNER).read_text()) if is_own else None
    except (OSError, ValidationError, UnicodeDecodeError):
        return False
    here = _owner(os.getpid())
    if owner is None or here is None or (owner.boot, owner.namespace) != (here.boot, here.namespace):
        return False
    return _owner(owner.pid) != owner


def _owner(pid: int) -> Owner | None:
    """None if there is no such process, or no /proc."""
    try:
        # The process name, in brackets, may contain anything; the 20th field after it is the start time.
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return Owner(pid=pid, started_ticks=ticks, boot=boot, namespace=os.stat("/proc/self/ns/pid").st_ino)
    except (OSError, IndexError, ValueError):
        return None


def _end_those_in(folder: Path) -> None:
    """Processes with an open file in the folder. All processes of Ray have open logs there, whatever their names."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended, or belongs to another user
            held = (os.readlink(file) for file in (process / "fd").iterdir())
            if int(process.name) != os.getpid() and any(path.startswith(f"{folder}/") for path in held):
                os.kill(int(process.name), signal.SIGKILL)
