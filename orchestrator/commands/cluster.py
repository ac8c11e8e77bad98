"""The commands for a cluster: `submit` sends a sweep to it as a Ray job, `doctor` finds its problems."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestrator.commands.session import (
    DEFAULT_ADDRESS,
    Address,
    command,
    connect,
    exit_code,
    failures_told,
    follow,
    job_ended_words,
    say,
    send,
)
from orchestrator.exit_codes import RUNNING_ELSEWHERE
from orchestrator.remote.job_request import LARGEST_FILE_BYTES, JobRequest, request_for_doctor, request_for_sweep
from orchestrator.remote.submitted import SWEEP
from orchestrator.remote.token import ClusterError
from orchestrator.run_options import RetryFailed, RunOptions

if TYPE_CHECKING:
    from orchestrator.remote.check import Check
    from orchestrator.remote.jobs import JobEnd, JobServer


SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.", show_default=False)]
ClusterStorage = Annotated[
    str | None,
    typer.Option(
        help="Where results go: a path or URI (s3://..., gs://...) that every node of the cluster reaches.",
        envvar="PARETUNE_STORAGE",
    ),
]
WorkingDir = Annotated[
    Path | None,
    typer.Option(help="Folder to send to the cluster; it must contain the sweep file. By default that file's folder."),
]
JobEnvironment = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="A variable for the job's environment; may be repeated. Never a secret."),
]
SubmissionId = Annotated[str | None, typer.Option(help="The job's id. By default the sweep's name with random digits.")]


def submit_command(
    sweep_file: SweepFile,
    address: Address = DEFAULT_ADDRESS,
    storage: ClusterStorage = None,
    working_dir: WorkingDir = None,
    env: JobEnvironment = None,
    submission_id: SubmissionId = None,
    retry_failed: RetryFailed = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the log until the job ends.")] = True,
) -> None:
    """Run a sweep on a cluster, as a Ray job, and follow its log.

    Example: paretune submit sweep.yaml --address http://127.0.0.1:8265 --storage /srv/paretune

    The cluster's token is read from RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token.

    MLFLOW_TRACKING_URI is passed to the job if it is the address of a server.

    Submitting again resumes the sweep. The exit code is that of the job.
    """
    with failures_told():
        server, request = submit_sweep(
            sweep_file,
            address,
            storage,
            working_dir=working_dir,
            env=env or (),
            submission_id=submission_id,
            options=RunOptions(retry_failed=retry_failed),
        )
        if not wait:
            typer.echo(request.submission_id)
            return
        end = follow(server, request.submission_id)
    say(_ended_words(server, request, end, str(storage)))
    raise typer.Exit(exit_code(end))


def _ended_words(server: JobServer, request: JobRequest, end: JobEnd, storage: str) -> str:
    sweep = request.metadata[SWEEP]
    if end.state == "SUCCEEDED":
        return f"done; compare with: paretune compare {sweep} --storage {shlex.quote(storage)}"
    if end.exit_code == RUNNING_ELSEWHERE:
        return f"{request.submission_id} has not run any trial: {_at_work_words(server, sweep, storage)}"
    return job_ended_words(request.submission_id, end)


def submit_sweep(
    sweep_file: Path,
    address: str,
    storage: str | None,
    *,
    working_dir: Path | None,
    env: Iterable[str],
    submission_id: str | None,
    options: RunOptions,
) -> tuple[JobServer, JobRequest]:
    """Check a sweep file on this machine, then send it to a cluster. Raises SweepError, InputError or ClusterError."""
    from orchestrator.planning.expand import expand
    from orchestrator.sweepfile.load import load_sweep

    sweep = load_sweep(sweep_file)
    expand(sweep)
    request = request_for_sweep(
        *(sweep_file, sweep.name, storage),
        working_dir=working_dir,
        env=env,
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI"),
        submission_id=submission_id,
        options=options,
    )
    for name in request.left_out:
        say(f"left out: {name} is larger than {LARGEST_FILE_BYTES >> 20} MiB; put it where all nodes reach it")
    server = connect(address)
    send(server, request)
    return server, request


def checks(address: str | None, storage: str | None, client: str | None) -> Iterator[Check]:
    """The checks of this machine, or of the cluster that it is a node of."""
    if address is None:
        from orchestrator.remote.doctor import check_here

        return check_here(storage)
    from orchestrator.remote.doctor_nodes import check_cluster
    from orchestrator.remote.versions import Versions

    return check_cluster(storage, Versions(**json.loads(client)) if client else None)


def _at_work_words(server: JobServer, sweep: str, storage: str) -> str:
    """The job that is already running the sweep, if it was submitted to this cluster."""
    try:
        jobs = server.sweeps()
    except ClusterError:
        jobs = []
    others = [job.id for job in jobs if (job.sweep, job.storage, job.state) == (sweep, storage, "RUNNING")]
    if not others:
        return f"sweep {sweep} is being run already, by the process that the line above names"
    return f"{others[0]} is running sweep {sweep} already; follow it: {command('logs --follow', server, others[0])}"


def doctor_command(
    address: Annotated[
        str | None,
        typer.Option(
            help="Check a cluster: its job server, or `auto` for the cluster that this machine is a node of.",
            metavar="http://HOST:8265|auto",
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Check that this storage can be written.", envvar="PARETUNE_STORAGE")
    ] = None,
    format: Annotated[Literal["table", "json"], typer.Option(help="For people, or for scripts.")] = "table",
    client: Annotated[str | None, typer.Option(hidden=True, help="The client's versions, as JSON.")] = None,
) -> None:
    """Find the problems of this machine, or of a cluster, and say how to fix each.

    Example: paretune doctor --address http://127.0.0.1:8265 --storage /srv/paretune

    Exit code 1 if there is a problem.
    """
    if address is None or address == "auto":
        found = []
        for check in checks(address, storage, client):
            found.append(check)
            if format == "table":
                typer.echo(str(check))
    else:
        with failures_told():
            server = connect(address)
            if format == "table":
                request = _doctor_request(storage)
                send(server, request)
                raise typer.Exit(exit_code(follow(server, request.submission_id, is_sweep=False)))
            found = list(checks_of_cluster(server, storage))
    if format == "json":
        typer.echo(json.dumps([asdict(check) for check in found]))
    raise typer.Exit(int(any(check.is_problem for check in found)))


def checks_of_cluster(server: JobServer, storage: str | None) -> tuple[Check, ...]:
    """The findings of `doctor` inside a cluster. Raises ClusterError, InputError for a storage no cluster can use."""
    from orchestrator.remote.check import Check

    request, said = _doctor_request(storage, as_json=True), list[str]()
    send(server, request)
    end = server.follow(request.submission_id, said.append)
    lines = "".join(said).strip().splitlines() or [end.message]
    try:
        return tuple(Check(**check) for check in json.loads(lines[-1]))
    except (ValueError, TypeError):
        raise ClusterError(f"{request.submission_id} ended as {end.state}: {lines[-1]}") from None


def _doctor_request(storage: str | None, *, as_json: bool = False) -> JobRequest:
    from orchestrator.remote.versions import installed_versions

    versions = json.dumps(asdict(installed_versions()))
    return request_for_doctor(storage, os.environ.get("MLFLOW_TRACKING_URI"), client=versions, as_json=as_json)
