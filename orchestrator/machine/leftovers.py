"""Removes the leftovers of a killed driver: the folder of its local Ray, and processes of Ray that outlive it.

Each folder says whose it is. The next run removes it if that process is surely gone: of the same boot and the same
process namespace (another container's processes are not seen from here), its number free or taken by a later process.
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
    """A process, told from all others that a machine has had or will have."""

    pid: int
    started_ticks: int  # since the machine has booted
    boot: str
    namespace: int


def claim(folder: str) -> None:
    """Write down that the folder is this process's."""
    owner = _owner(os.getpid())
    if owner is not None:
        Path(folder, OWNER).write_text(owner.model_dump_json())


def clean_up(places: Iterable[str], prefix: str) -> list[str]:
    """Remove the folders of dead drivers of this user, and end what still works in them. Returns the folders."""
    removed = []
    for place in places:
        with contextlib.suppress(OSError):  # a folder that may not be listed
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
        # The name, in brackets, may hold anything; the 20th field after it is the start.
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return Owner(pid=pid, started_ticks=ticks, boot=boot, namespace=os.stat("/proc/self/ns/pid").st_ino)
    except (OSError, IndexError, ValueError):
        return None


def _end_those_in(folder: Path) -> None:
    """Processes that have a file of the folder open, as all of Ray's have their logs, whatever they call themselves."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            held = (os.readlink(file) for file in (process / "fd").iterdir())
            if int(process.name) != os.getpid() and any(path.startswith(f"{folder}/") for path in held):
                os.kill(int(process.name), signal.SIGKILL)
