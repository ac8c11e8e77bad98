"""The commands for a cluster: `submit` sends a sweep to it as a Ray job, `doctor` finds its faults."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.exit_codes import INPUT_IS_WRONG, RUNNING_ELSEWHERE
from orchestrator.remote.job_request import LARGEST_FILE_BYTES, request_for_doctor, request_for_sweep
from orchestrator.remote.session import (
    DEFAULT_ADDRESS,
    Address,
    command,
    connect,
    exit_code,
    fail,
    follow,
    job_ended_words,
    say,
    send,
)
from orchestrator.remote.token import ClusterError
from orchestrator.run_options import RetryFailed, RunOptions

if TYPE_CHECKING:
    from orchestrator.remote.check import Check
    from orchestrator.remote.jobs import JobServer
    from orchestrator.sweep.spec import Sweep


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
    retry_failed: RetryFailed = False,
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
            options=RunOptions(retry_failed=retry_failed),
        )
    except ValueError as error:
        fail(str(error), INPUT_IS_WRONG)
    for name in request.left_out:
        say(f"left out: {name} is larger than {LARGEST_FILE_BYTES >> 20} MiB; put it where all nodes reach it")
    server = connect(address)
    send(server, request)
    if not wait:
        typer.echo(request.submission_id)
        return
    end = follow(server, request.submission_id)
    if end.state == "SUCCEEDED":
        say(f"done; compare with: paretune compare {sweep.name} --storage {shlex.quote(str(storage))}")
    elif end.exit_code == RUNNING_ELSEWHERE:
        say(f"{request.submission_id} has not run anything: {_at_work_words(server, sweep.name, str(storage))}")
    else:
        say(job_ended_words(request.submission_id, end))
    raise typer.Exit(exit_code(end))


def _checks(address: str | None, storage: str | None, client: str | None) -> Iterator[Check]:
    """Of this machine alone, or of the cluster that it is a node of."""
    if address is None:
        from orchestrator.remote.doctor import check_here

        return check_here(storage)
    from orchestrator.remote.doctor_nodes import check_cluster
    from orchestrator.remote.versions import Versions

    return check_cluster(storage, Versions(**json.loads(client)) if client else None)


def _at_work_words(server: JobServer, sweep: str, storage: str) -> str:
    """The job that is running the sweep already, if it was submitted to this cluster."""
    try:
        jobs = server.sweeps()
    except ClusterError:
        jobs = []
    others = [job.id for job in jobs if (job.sweep, job.storage, job.state) == (sweep, storage, "RUNNING")]
    if not others:
        return f"sweep {sweep} is being run already, by what the line above names"
    return f"{others[0]} is running sweep {sweep} already; follow it: {command('logs --follow', server, others[0])}"


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
    client: Annotated[str | None, typer.Option(hidden=True, help="The versions of who asks, as JSON.")] = None,
) -> None:
    """Find the faults of this machine, or of a cluster, and say how to mend each.

    Example: paretune doctor --address http://127.0.0.1:8265 --storage /srv/paretune

    Exit code 1 if there is a problem.
    """
    if address is None or address == "auto":
        has_problem = False
        for check in _checks(address, storage, client):
            typer.echo(str(check))
            has_problem |= check.is_problem
        raise typer.Exit(int(has_problem))
    from orchestrator.remote.versions import installed_versions

    try:
        request = request_for_doctor(
            storage, os.environ.get("MLFLOW_TRACKING_URI"), client=json.dumps(asdict(installed_versions()))
        )
    except ValueError as error:
        fail(str(error), INPUT_IS_WRONG)
    server = connect(address)
    send(server, request)
    raise typer.Exit(exit_code(follow(server, request.submission_id, is_sweep=False)))


def _validated(sweep_file: Path) -> Sweep:
    from orchestrator.diagnostics.problem import SweepError
    from orchestrator.planning.expand import expand
    from orchestrator.sweepfile.load import load_sweep

    try:
        sweep = load_sweep(sweep_file)
        expand(sweep)
    except SweepError as error:
        say(str(error))
        raise typer.Exit(INPUT_IS_WRONG) from None
    return sweep
