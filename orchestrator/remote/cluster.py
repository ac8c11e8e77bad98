"""The commands for a cluster: `submit` a sweep to it as a Ray job, `doctor` to see what is wrong with it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from orchestrator.remote.job_request import LARGEST_FILE_BYTES, JobRequest, request_for_doctor, request_for_sweep
from orchestrator.remote.token import ClusterError, auth_token

if TYPE_CHECKING:
    from orchestrator.remote.jobs import JobEnd, JobServer
    from orchestrator.spec import Sweep

DEFAULT_ADDRESS = "http://127.0.0.1:8265"  # where `ray dashboard cluster.yaml` opens its tunnel
INPUT_IS_WRONG, CLUSTER_IS_WRONG, LEFT_RUNNING = 2, 1, 130

Address = Annotated[
    str,
    typer.Option(help="The cluster's job server.", envvar="RAY_API_SERVER_ADDRESS", metavar="http://HOST:8265"),
]


def submit_command(
    sweep_file: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.", show_default=False)],
    address: Address = DEFAULT_ADDRESS,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where results go: a path or URI (s3://..., gs://...) that every node of the cluster reaches.",
            envvar="PARETUNE_STORAGE",
        ),
    ] = None,
    working_dir: Annotated[
        Path | None,
        typer.Option(help="Folder to send along, with the sweep file in it. By default that file's folder."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="For the job's environment; may be repeated. Never a secret."),
    ] = None,
    submission_id: Annotated[str | None, typer.Option(help="The job's name; by default the sweep's and more.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the log until the job ends.")] = True,
) -> None:
    """Run a sweep on a cluster, as a Ray job, and follow its log.

    Example: paretune submit sweep.yaml --address http://127.0.0.1:8265 --storage /srv/paretune

    The cluster's token is taken from RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token.

    MLFLOW_TRACKING_URI is passed on when it is a server's.

    Submitting again resumes the sweep. The exit code is that of the job.
    """
    sweep = _validated(sweep_file)
    try:
        request = request_for_sweep(
            *(sweep_file, sweep.name, storage),
            working_dir=working_dir,
            env=env or (),
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI"),
            submission_id=submission_id,
        )
    except ValueError as error:
        _fail(str(error), INPUT_IS_WRONG)
    for name in request.left_out:
        _say(f"left out: {name} is larger than {LARGEST_FILE_BYTES >> 20} MiB; put it where all nodes reach it")
    server = _connect(address)
    _submit(server, request)
    if not wait:
        typer.echo(request.submission_id)
        return
    end = _follow(server, request.submission_id)
    if end.state == "SUCCEEDED":
        _say(f"done; compare with: paretune compare {sweep.name} --storage {shlex.quote(str(storage))}")
    else:
        why = f": {end.message}" if end.exit_code is None and end.message else ""  # else its log has told
        _say(f"{request.submission_id} ended as {end.state}{why}; the same command again resumes the sweep")
    raise typer.Exit(exit_code(end))


def doctor_command(
    address: Annotated[
        str | None,
        typer.Option(
            help="Look at a cluster too: its job server, or `auto` for the cluster that this machine is a node of.",
            metavar="http://HOST:8265|auto",
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Check that this storage can be written.", envvar="PARETUNE_STORAGE")
    ] = None,
) -> None:
    """Say what is wrong with this machine, or with a cluster, and what to do about it.

    Example: paretune doctor --address http://127.0.0.1:8265 --storage /srv/paretune

    Exit code 1 if there is a problem.
    """
    if address is None or address == "auto":
        if address is None:
            from orchestrator.remote.doctor import check_here as look
        else:
            from orchestrator.remote.doctor_nodes import check_cluster as look
        has_problem = False
        for check in look(storage):
            typer.echo(str(check))
            has_problem |= check.is_problem
        raise typer.Exit(int(has_problem))
    try:
        request = request_for_doctor(storage, os.environ.get("MLFLOW_TRACKING_URI"))
    except ValueError as error:
        _fail(str(error), INPUT_IS_WRONG)
    server = _connect(address)
    _submit(server, request)
    raise typer.Exit(exit_code(_follow(server, request.submission_id)))


def exit_code(end: JobEnd) -> int:
    """0 if the job succeeded; else its driver's exit code, or 1 if that is not known."""
    return 0 if end.state == "SUCCEEDED" else (end.exit_code or CLUSTER_IS_WRONG)


def _validated(sweep_file: Path) -> Sweep:
    from orchestrator.planning.expand import expand
    from orchestrator.problems import SweepError
    from orchestrator.spec import load_sweep

    try:
        sweep = load_sweep(sweep_file)
        expand(sweep)
    except SweepError as error:
        _say(str(error))
        raise typer.Exit(INPUT_IS_WRONG) from None
    return sweep


def _connect(address: str) -> JobServer:
    from orchestrator.remote import jobs

    try:
        is_private = jobs.check_address(address)
    except ValueError as error:
        _fail(str(error), INPUT_IS_WRONG)
    if not is_private:
        _say(f"note: the token goes to {address} unencrypted; a tunnel (`ray dashboard cluster.yaml`) keeps it private")
    try:
        return jobs.JobServer(address, auth_token())
    except ClusterError as error:
        _fail(str(error), CLUSTER_IS_WRONG)


def _submit(server: JobServer, request: JobRequest) -> None:
    for note in request.notes:
        _say(f"note: {note}")
    try:
        server.submit(request)
    except ClusterError as error:
        _fail(str(error), CLUSTER_IS_WRONG)
    _say(f"submitted as {request.submission_id} to {server.address}")


def _follow(server: JobServer, name: str) -> JobEnd:
    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    ray_job = f"RAY_AUTH_MODE=token ray job {{}} {name} --address {server.address}"
    try:
        return server.follow(name, write)
    except ClusterError as error:
        _fail(f"{error}; the job may still run, see: {ray_job.format('status')}", CLUSTER_IS_WRONG)
    except KeyboardInterrupt:
        _say(f"\nleft {name} running; follow it: {ray_job.format('logs --follow')}; stop it: {ray_job.format('stop')}")
        raise typer.Exit(LEFT_RUNNING) from None


def _say(message: str) -> None:
    typer.echo(message, err=True)


def _fail(message: str, code: int) -> NoReturn:
    _say(f"error: {message}")
    raise typer.Exit(code)
