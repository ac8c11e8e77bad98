"""Shared parts of the commands for a cluster: its address, the connection, and error messages with exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from orchestrator.diagnostics.problem import SweepError
from orchestrator.exit_codes import FAILED, INPUT_IS_WRONG, INTERRUPTED
from orchestrator.remote.job_request import JobRequest
from orchestrator.remote.token import ClusterError, auth_token
from trainables.errors import InputError

if TYPE_CHECKING:
    from orchestrator.remote.jobs import JobEnd, JobServer

DEFAULT_ADDRESS = "http://127.0.0.1:8265"  # where `ray dashboard cluster.yaml` opens its tunnel

Address = Annotated[
    str,
    typer.Option(help="The cluster's job server.", envvar="RAY_API_SERVER_ADDRESS", metavar="http://HOST:8265"),
]


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn the errors of the block into one message and an exit code."""
    try:
        yield
    except SweepError as error:
        say(str(error))
        raise typer.Exit(INPUT_IS_WRONG) from None
    except InputError as error:
        fail(str(error), INPUT_IS_WRONG)
    except ClusterError as error:
        fail(str(error), FAILED)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def connect(address: str) -> JobServer:
    """A connected, authenticated job server. Raises InputError for a bad address, ClusterError without an answer."""
    from orchestrator.remote import jobs

    if not jobs.check_address(address):
        say(f"note: the token goes to {address} unencrypted; a tunnel (`ray dashboard cluster.yaml`) keeps it private")
    return jobs.JobServer(address, auth_token())


def send(server: JobServer, request: JobRequest) -> None:
    """Submit a job, and print its notes. Raises ClusterError."""
    for note in request.notes:
        say(f"note: {note}")
    server.submit(request)
    say(f"submitted as {request.submission_id} to {server.address}")


def follow(server: JobServer, name: str, *, is_sweep: bool = True) -> JobEnd:
    """Print a job's log until it has ended. Ctrl-C leaves a sweep running and prints how to continue; it stops others.

    Raises ClusterError if the server does not come back, and KeyboardInterrupt.
    """
    try:
        return server.follow(name, write)
    except ClusterError as error:
        more = f"; the job may still be running, see: {command('status', server, name)}" if is_sweep else ""
        raise ClusterError(f"{error}{more}") from error
    except KeyboardInterrupt:
        if is_sweep:
            logs, stop = command("logs --follow", server, name), command("stop", server, name)
            say(f"\n{name} continues to run; follow it: {logs}; stop it: {stop}")
        else:
            with suppress(ClusterError):
                server.stop(name, patience_s=0.0)
        raise


def command(verb: str, server: JobServer, name: str) -> str:
    """A complete command about a job."""
    return f"paretune {verb} {name} --address {server.address}"


def exit_code(end: JobEnd) -> int:
    """0 if the job succeeded; else its driver's exit code, or 1 if that is not known."""
    return 0 if end.state == "SUCCEEDED" else (end.exit_code or FAILED)


def job_ended_words(name: str, end: JobEnd) -> str:
    """How a job ended, and what to do next."""
    if end.state == "SUCCEEDED":
        return f"{name} has succeeded"
    if end.state == "STOPPED":
        return f"{name} was stopped; submit again to resume the sweep"
    why = f": {end.message}" if end.exit_code is None and end.message else ""  # otherwise the log has the reason
    return f"{name} ended as {end.state}{why}; the same command again resumes the sweep"


def write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def say(message: str) -> None:
    typer.echo(message, err=True)


def fail(message: str, code: int) -> NoReturn:
    say(f"error: {message}")
    raise typer.Exit(code)
