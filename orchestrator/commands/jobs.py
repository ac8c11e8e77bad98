"""The commands for submitted sweeps: `jobs` lists them; `status`, `logs` and `stop` are about one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestrator.commands.session import (
    DEFAULT_ADDRESS,
    Address,
    connect,
    exit_code,
    failures_told,
    follow,
    job_ended_words,
    say,
    write,
)
from orchestrator.exit_codes import FAILED
from orchestrator.remote.job_request import STOP_PATIENCE_S, request_for_progress
from orchestrator.remote.submitted import SubmittedSweep, clock, find, iso
from orchestrator.remote.token import ClusterError
from orchestrator.text import plural

if TYPE_CHECKING:
    from orchestrator.commands.sweep_status import HowFar, OpenTrial
    from orchestrator.remote.jobs import JobServer

ANSWER_PATIENCE_S = 120.0  # seconds to wait for a job that reads a journal, on a head that may be busy
STOP_MARGIN_S = 30.0  # seconds beyond the time after which Ray kills a stopped job

Format = Annotated[Literal["table", "json"], typer.Option(help="For people, or for scripts.")]
Job = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="The job's id, or its sweep's name (then the latest job of it).", show_default=False
    ),
]


def jobs_command(address: Address = DEFAULT_ADDRESS, format: Format = "table") -> None:
    """List the sweeps that were submitted to a cluster, latest first.

    Example: paretune jobs --address http://127.0.0.1:8265
    """
    with failures_told():
        sweeps = connect(address).sweeps()
    if format == "json":
        typer.echo(json.dumps([sweep.as_json() for sweep in sweeps], indent=2))
    elif not sweeps:
        say("no sweep has been submitted to this cluster since it started")
    else:
        rows = [("id", "sweep", "status", "since", "storage")]
        rows += [(job.id, job.sweep, job.state, clock(job.since_ms), job.storage) for job in sweeps]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            typer.echo("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())


def status_command(job: Job, address: Address = DEFAULT_ADDRESS, format: Format = "table") -> None:
    """Show the progress of a submitted sweep: which trials have ended, run or wait.

    Example: paretune status digits --address http://127.0.0.1:8265

    It asks the cluster, which can read the storage. This takes some seconds.
    """
    far, why_not = None, ""
    with failures_told():
        server = connect(address)
        found = find(server.sweeps(), job)
        try:
            far = how_far_is(server, found)
        except ClusterError as error:
            why_not = str(error)
    show = _as_json if format == "json" else _as_text
    typer.echo(show(found, far, why_not))
    raise typer.Exit(0 if far is not None else FAILED)


def how_far_is(server: JobServer, job: SubmittedSweep) -> HowFar:
    """The progress of a sweep, read on the cluster, which reaches the sweep's storage. Raises ClusterError."""
    from orchestrator.commands.sweep_status import HowFar

    answer = server.answer_of(request_for_progress(job.sweep, job.storage), ANSWER_PATIENCE_S)
    try:
        return HowFar.model_validate_json(answer)
    except ValueError:
        raise ClusterError(
            "the cluster has another version of Paretune; `paretune doctor --address` compares the versions"
        ) from None


def logs_command(
    job: Job,
    address: Address = DEFAULT_ADDRESS,
    follow_it: Annotated[bool, typer.Option("--follow", help="Continue until the job ends.")] = False,
) -> None:
    """Print the log of a submitted sweep so far; with --follow, continue until it ends.

    Example: paretune logs digits --follow --address http://127.0.0.1:8265

    With --follow, the exit code is that of the job.
    """
    with failures_told():
        server = connect(address)
        name = find(server.sweeps(), job).id
        if not follow_it:
            write(server.log(name))
            return
        end = follow(server, name)
    say(job_ended_words(name, end))
    raise typer.Exit(exit_code(end))


def stop_command(job: Job, address: Address = DEFAULT_ADDRESS) -> None:
    """Stop a submitted sweep gracefully: running trials keep their checkpoints, and submitting again resumes them.

    Example: paretune stop digits --address http://127.0.0.1:8265
    """
    with failures_told():
        stop_job(connect(address), job)


def stop_job(server: JobServer, job: str) -> None:
    """Stop a job and print the rest of its log. Raises UnknownJobError or ClusterError."""
    found = find(server.sweeps(), job)
    if not found.is_at_work:
        say(f"{found.id} is not running: it is {found.state} since {clock(found.ended_ms)}")
        return
    said = len(server.log(found.id))
    say(f"stopping {found.id} ...")
    end = server.stop(found.id, STOP_PATIENCE_S + STOP_MARGIN_S)
    write(server.log(found.id)[said:])
    say(job_ended_words(found.id, end))


def _as_text(job: SubmittedSweep, far: HowFar | None, why_not: str) -> str:
    lines = [f"{job.id}: {job.state} since {clock(job.since_ms)}; sweep {job.sweep} in {job.storage}"]
    if far is None:
        return "\n".join([*lines, f"Its progress is not known: {why_not}"])
    since = _driver_since(job)
    lines.append(far.words(since))
    lines += [f"  {trial.id}  {_trial_words(trial, far.objective)}" for trial in far.running(since)]
    if unfinished := len(far.open) - len(far.running(since)):
        lines.append(f"{plural(unfinished, 'trial')} interrupted: submit again, and each resumes from its checkpoint")
    if far.last_ms is not None:
        lines.append(f"last recorded: {clock(far.last_ms)}")
    return "\n".join(lines)


def _trial_words(trial: OpenTrial, objective: str) -> str:
    share = [] if trial.fraction is None else [f"{trial.fraction:.0%} of its budget"]
    value = [] if trial.objective is None else [f"{objective} {trial.objective:.4g}"]
    return f"{trial.what}: " + ", ".join([*share, *value, f"since {clock(trial.since_ms)}"])


def _as_json(job: SubmittedSweep, far: HowFar | None, why_not: str) -> str:
    """The status as JSON; if the storage has no answer, `trials` is null and `problem` says why."""
    answer: dict[str, object] = {**job.as_json(), "trials": None, "problem": why_not or None}
    if far is not None:
        since = _driver_since(job)
        running = [
            {"id": trial.id, "what": trial.what, "since": iso(trial.since_ms), "fraction": trial.fraction,
             far.objective: trial.objective}
            for trial in far.running(since)
        ]  # fmt: skip
        answer["trials"] = {
            "total": far.total,
            "ended": {str(status): count for status, count in far.ended.items()},
            "running": running,
            "waiting": far.waiting(since),
        }
        answer["last_recorded"] = iso(far.last_ms)
    return json.dumps(answer, indent=2)


def _driver_since(job: SubmittedSweep) -> int | None:
    return job.started_ms if job.state == "RUNNING" else None
