"""Settings of this machine that would mislead a command: each is corrected before anything reads it, or reported.

Imports no slow module.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from urllib.request import getproxies_environment

LOOPBACK = ("localhost", "127.0.0.1", "::1")
OUTER_RUN = "MLFLOW_RUN_ID"  # set in processes that an MLflow run starts, as with `mlflow run` and Databricks
OF_AN_OUTER_RUN = (OUTER_RUN, "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
OUTER_RUN_TAG = "paretune.outer_run"


def settle_in() -> None:
    """Correct the settings for this process and its children."""
    never_through_a_proxy(*LOOPBACK)
    if not has_name():  # otherwise libraries that ask for the user's name, such as torch's caches, would fail
        os.environ.setdefault("LOGNAME", f"uid-{os.getuid()}")
        os.environ.setdefault("USER", f"uid-{os.getuid()}")
    if home() is None and (cache := os.environ.get("PARETUNE_CACHE")):
        os.environ["HOME"] = cache  # MLflow and torch need one


def home() -> Path | None:
    """The user's home folder; None if it is unknown."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def has_name() -> bool:
    """Whether the current user has a name on this machine: in containers, a user is often only a number."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def proxies() -> dict[str, str]:
    """The proxies of the environment, by protocol."""
    return {protocol: proxy for protocol, proxy in getproxies_environment().items() if protocol != "no"}


def never_through_a_proxy(*hosts: str) -> None:
    """Exclude addresses of this machine and of clusters from the proxy, which cannot reach them, in both spellings."""
    if not proxies():
        return
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    names = dict.fromkeys(filter(None, [*(name.strip() for name in known.split(",")), *hosts]))
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(names)


def outer_run_note() -> str:
    """A note on variables of an outer MLflow run, which are ignored; empty outside of an MLflow run."""
    found = [name for name in OF_AN_OUTER_RUN if os.environ.get(name)]
    if not found:
        return ""
    tagged = f", each with the tag {OUTER_RUN_TAG}" if OUTER_RUN in found else ""
    return (
        f"{', '.join(found)} of an outer MLflow run: the sweep records runs of its own{tagged}, in an experiment of "
        "its own name"
    )


def load_note(load: float | None = None, cores: int | None = None) -> str:
    """A note if the load of the last minute exceeds the number of cores, because timings are then not reliable.

    `load` and `cores` are this machine's by default.
    """
    load = os.getloadavg()[0] if load is None else load
    cores = (os.cpu_count() or 1) if cores is None else cores
    if load <= cores:
        return ""
    return f"load {load:.0f} on {cores} cores: other programs are running, so seconds and latencies are not reliable"
