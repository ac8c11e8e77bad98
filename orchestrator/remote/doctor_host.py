"""Checks of this machine's environment that could mislead a sweep: home, TMPDIR, proxies, an outer MLflow run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from orchestrator.machine.environment import has_name, home, load_note, outer_run_note, proxies
from orchestrator.machine.ray_folder import NoFolderError, ray_folder
from orchestrator.remote.check import Check
from trainables.data.fingerprint import NO_HOME
from trainables.redact import without_credentials


def check_surroundings() -> Iterator[Check]:
    yield check_home()
    yield check_sockets()
    yield from check_proxies(os.environ.get("MLFLOW_TRACKING_URI"))
    yield check_load(load_note())
    if note := outer_run_note():
        yield Check("note", "mlflow", note)


def check_load(note: str) -> Check:
    return Check("note", "load", note) if note else Check("ok", "load", "no more than the number of cores")


def check_home() -> Check:
    folder = home()
    if folder is None:
        return Check("problem", "home", *NO_HOME.split(". ", 1))
    if not os.access(next(path for path in (folder, *folder.parents) if path.exists()), os.W_OK):
        way_out = "set HOME to a folder that can"
        return Check("problem", "home", f"{folder} cannot be written", way_out)
    if not has_name():
        return Check("note", "home", f"{folder}; user {os.getuid()} has no name on this machine")
    return Check("ok", "home", str(folder))


def check_sockets() -> Check:
    """Check the folder for a local Ray's files."""
    try:
        with ray_folder() as folder:
            place = os.path.dirname(os.path.dirname(folder))
    except NoFolderError as error:
        return Check("problem", "sockets", *str(error).split(": ", 1))
    wanted = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if place != wanted:
        return Check(
            "note", "sockets", f"{wanted} is too long for Ray's sockets, or does not allow any; {place} is used instead"
        )
    return Check("ok", "sockets", f"Ray's sockets fit into {place}")


def check_proxies(tracking_uri: str | None) -> Iterator[Check]:
    """Check the proxies: loopback and cluster addresses never use one; an MLflow server that does is noted."""
    found = proxies()
    if not found:
        return
    named = ", ".join(f"{protocol} through {without_credentials(proxy)}" for protocol, proxy in sorted(found.items()))
    yield Check("ok", "proxies", f"{named}; not for addresses of this machine or of a cluster")
    parts = urlsplit(tracking_uri or "")
    if parts.scheme in found and parts.hostname and not proxy_bypass(parts.hostname):
        way_out = f"to connect directly, add {parts.hostname} to no_proxy"
        yield Check("note", "proxies", f"MLflow at {parts.hostname} is reached through the proxy", way_out)
