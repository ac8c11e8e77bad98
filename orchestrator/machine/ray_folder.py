"""The folder of a local Ray: short enough for its sockets, private to this user, removed at the end.

Ray makes its own folders accessible to all users, and keeps logs, settings and messages of every process in them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.machine.leftovers import claim, clean_up
from trainables.errors import ParetuneError

RAY_FOLDER_PREFIX = "paretune-ray-"
# What Ray appends, at its longest: a date, a process id of seven digits, a socket.
LONGEST_SOCKET = "ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
LONGEST_PATH = 107  # longest path of a socket on Linux, in bytes
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - the folder made there is private


class NoFolderError(ParetuneError, OSError):
    """No folder of this machine is suitable for Ray's sockets."""


@contextlib.contextmanager
def ray_folder() -> Iterator[str]:
    """A new folder that only this user can enter; Ray's own folder, accessible to all, is inside. Raises NoFolderError.

    Leftovers of killed drivers are removed first.
    """
    clean_up(folder_candidates(), RAY_FOLDER_PREFIX)
    for place in folder_candidates():
        try:
            folder = tempfile.TemporaryDirectory(prefix=RAY_FOLDER_PREFIX, dir=place, ignore_cleanup_errors=True)
        except OSError:  # the folder does not exist, or cannot be written
            continue
        with folder as path:
            if takes_sockets(path):
                claim(path)
                yield f"{path}/ray"
                return
    raise NoFolderError(no_folder())


def folder_candidates() -> list[str]:
    """Candidates for the parent folder, the user's own choices first."""
    own = (os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR"))
    return list(dict.fromkeys(place for place in (*own, *SHORT_FOLDERS) if place))


def takes_sockets(folder: str) -> bool:
    """Whether a socket with a path as long as Ray's can be created there. Network disks may not support sockets."""
    file = Path(folder, "s" * len(LONGEST_SOCKET))
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(file))
    except OSError:
        return False
    finally:
        file.unlink(missing_ok=True)
    return True


def no_folder() -> str:
    longest = LONGEST_PATH - len(f"/{RAY_FOLDER_PREFIX}xxxxxxxx/{LONGEST_SOCKET}")
    tried = ", ".join(folder_candidates())
    return (
        f"Ray's sockets do not fit into any of {tried}: set RAY_TMPDIR to a writable folder on a local disk, "
        f"with a path of at most {longest} characters"
    )
