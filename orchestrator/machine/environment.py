"""Settings of this machine that would mislead a command: each is set right before anything reads it, or told.

Imports nothing that takes time.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from urllib.request import getproxies_environment

LOOPBACK = ("localhost", "127.0.0.1", "::1")
OUTER_RUN = "MLFLOW_RUN_ID"  # set for what an MLflow run starts, as by `mlflow run` and Databricks
OF_AN_OUTER_RUN = (OUTER_RUN, "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
OUTER_RUN_TAG = "paretune.outer_run"


def settle_in() -> None:
    """For this process and all that it starts."""
    never_through_a_proxy(*LOOPBACK)
    if not has_name():  # what asks for one, as torch's caches do, would fail
        os.environ.setdefault("LOGNAME", f"uid-{os.getuid()}")
        os.environ.setdefault("USER", f"uid-{os.getuid()}")
    if home() is None and (cache := os.environ.get("PARETUNE_CACHE")):
        os.environ["HOME"] = cache  # MLflow and torch want one


def home() -> Path | None:
    """The user's home folder, if anybody knows it."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def has_name() -> bool:
    """Whether this machine knows a name for the current user: containers often give a number alone."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def proxies() -> dict[str, str]:
    """The proxies of the environment, by protocol."""
    return {protocol: proxy for protocol, proxy in getproxies_environment().items() if protocol != "no"}


def never_through_a_proxy(*hosts: str) -> None:
    """A proxy knows neither this machine's own addresses nor those inside a cluster. Each of both spellings is read."""
    if not proxies():
        return
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    names = dict.fromkeys(filter(None, [*(name.strip() for name in known.split(",")), *hosts]))
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(names)


def outer_run_note() -> str:
    """A note on the variables of an outer MLflow run that are ignored; empty if this process was started in none."""
    found = [name for name in OF_AN_OUTER_RUN if os.environ.get(name)]
    if not found:
        return ""
    tagged = f", each with the tag {OUTER_RUN_TAG}" if OUTER_RUN in found else ""
    return (
        f"{', '.join(found)} of an outer MLflow run: the sweep records runs of its own{tagged}, in an experiment of "
        "its own name"
    )


def load_note(load: float | None = None, cores: int | None = None) -> str:
    """A note where the load of the last minute is more than the cores can carry, so that timings are not to be trusted.

    `load` and `cores` are this machine's where they are not given.
    """
    load = os.getloadavg()[0] if load is None else load
    cores = (os.cpu_count() or 1) if cores is None else cores
    if load <= cores:
        return ""
    return f"load {load:.0f} on {cores} cores: others are at work here, so seconds and latencies of now mean little"
