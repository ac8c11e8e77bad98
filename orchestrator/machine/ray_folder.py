"""The folder of a local Ray: short enough for its sockets, closed to everyone else, removed at its end.

Ray opens its own folders to all users of the machine, and keeps logs, settings and messages of every process in them.
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
LONGEST_PATH = 107  # of a socket, in bytes, on Linux
SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - what is made there is closed to others


class NoFolderError(ParetuneError, OSError):
    """Ray's sockets fit nowhere on this machine."""


@contextlib.contextmanager
def ray_folder() -> Iterator[str]:
    """A new folder that only this user may enter, and Ray's own in it, which Ray opens to all. Raises NoFolderError.

    What drivers that were killed have left is removed first.
    """
    clean_up(folder_candidates(), RAY_FOLDER_PREFIX)
    for place in folder_candidates():
        try:
            folder = tempfile.TemporaryDirectory(prefix=RAY_FOLDER_PREFIX, dir=place, ignore_cleanup_errors=True)
        except OSError:  # not there, or not to be written
            continue
        with folder as path:
            if takes_sockets(path):
                claim(path)
                yield f"{path}/ray"
                return
    raise NoFolderError(no_folder())


def folder_candidates() -> list[str]:
    """Where the folder may be, the user's own choices first."""
    own = (os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR"))
    return list(dict.fromkeys(place for place in (*own, *SHORT_FOLDERS) if place))


def takes_sockets(folder: str) -> bool:
    """Whether a socket with a path as long as Ray's can be made there. A network's disk may take none at all."""
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
        f"Ray's sockets fit into none of {tried}: set RAY_TMPDIR to a folder on a local disk that can be written, "
        f"with a path of at most {longest} characters"
    )
