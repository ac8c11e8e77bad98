"""The commands for a cluster, as functions: submit a sweep, inspect submitted sweeps, find problems."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.commands.session import DEFAULT_ADDRESS, connect, job_ended_words
from orchestrator.commands.session import follow as follow_log
from orchestrator.machine.environment import settle_in
from orchestrator.remote.submitted import find
from orchestrator.remote.token import ClusterError
from orchestrator.run_options import RunOptions

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.commands.sweep_status import HowFar
    from orchestrator.remote.check import Check
    from orchestrator.remote.jobs import JobServer


def submit(
    sweep: str | PathLike[str],
    address: str | None = None,
    *,
    storage: str | None = None,
    working_dir: str | PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    submission_id: str | None = None,
    retry_failed: bool = False,
    wait: bool = True,
) -> str:
    """Run a sweep on a cluster, as a Ray job. Returns the job's id, which `status`, `logs` and `stop` accept.

    `address`: the cluster's job server; by default $RAY_API_SERVER_ADDRESS, or a local tunnel to it. `storage`: a path
    or URI that every node reaches. `working_dir`: the folder to send to the cluster; it contains the sweep file. `env`:
    variables for the job's environment, never secrets. `wait`: print the job's log until it has ended, and raise
    ClusterError if it failed.
    """
    from orchestrator.commands.cluster import submit_sweep

    settle_in()
    server, request = submit_sweep(
        Path(sweep),
        _address(address),
        storage or os.environ.get("PARETUNE_STORAGE"),
        working_dir=None if working_dir is None else Path(working_dir),
        env=[f"{name}={value}" for name, value in (env or {}).items()],
        submission_id=submission_id,
        options=RunOptions(retry_failed=retry_failed),
    )
    if wait:
        _followed(server, request.submission_id)
    return request.submission_id


def jobs(address: str | None = None) -> pd.DataFrame:
    """The sweeps that were submitted to a cluster, latest first: one row per job, indexed by its id."""
    import pandas as pd

    sweeps = [job.as_json() for job in _server(address).sweeps()]
    return pd.DataFrame(sweeps, columns=["id", "sweep", "storage", "status", "started", "ended"]).set_index("id")


def status(job: str, address: str | None = None) -> HowFar:
    """The progress of a submitted sweep. `job`: a job's id, or a sweep's name (then the latest job of that sweep).

    Raises UnknownJobError, or ClusterError if the cluster cannot read the storage.
    """
    from orchestrator.commands.jobs import how_far_is

    server = _server(address)
    return how_far_is(server, find(server.sweeps(), job))


def logs(job: str, address: str | None = None, *, follow: bool = False) -> str:
    """The log of a submitted sweep so far. `follow`: print it as it grows, until the job has ended."""
    server = _server(address)
    name = find(server.sweeps(), job).id
    if follow:
        _followed(server, name)
    return server.log(name)


def stop(job: str, address: str | None = None) -> None:
    """Stop a submitted sweep gracefully: running trials keep their checkpoints, and submitting again resumes them."""
    from orchestrator.commands.jobs import stop_job

    stop_job(_server(address), job)


def doctor(address: str | None = None, storage: str | None = None) -> tuple[Check, ...]:
    """The findings about this machine, or about a cluster; those with `is_problem` come with a way to fix them.

    `address`: a cluster's job server, or `auto` for the cluster that this machine is a node of.
    """
    from orchestrator.commands.cluster import checks, checks_of_cluster

    settle_in()
    storage = storage or os.environ.get("PARETUNE_STORAGE")
    if address is None or address == "auto":
        return tuple(checks(address, storage, None))
    return checks_of_cluster(connect(address), storage)


def _followed(server: JobServer, name: str) -> None:
    """Print a job's log until it has ended. Raises ClusterError if it failed."""
    end = follow_log(server, name)
    if end.state != "SUCCEEDED":
        raise ClusterError(job_ended_words(name, end))


def _server(address: str | None) -> JobServer:
    settle_in()
    return connect(_address(address))


def _address(address: str | None) -> str:
    return address or os.environ.get("RAY_API_SERVER_ADDRESS") or DEFAULT_ADDRESS
