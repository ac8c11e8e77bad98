"""The command line. Each command imports its modules when it runs, so that help and plans appear at once.

Exit codes are in `orchestrator.exit_codes`.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from orchestrator.commands.cluster import doctor_command, submit_command
from orchestrator.commands.jobs import jobs_command, logs_command, status_command, stop_command
from orchestrator.commands.probe import probe_command
from orchestrator.exit_codes import INPUT_IS_WRONG
from orchestrator.machine.environment import home, settle_in
from orchestrator.run_options import RetryFailed, RunOptions

if TYPE_CHECKING:
    from orchestrator.sweep.plan import Plan

app = typer.Typer(
    name="paretune",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"paretune {version('paretune')}")
        raise typer.Exit


@app.callback()
def everywhere(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find the batch size and the compressed model that fit your hardware: one YAML file in, one recommendation out.

    Example: paretune run examples/digits.yaml
    """
    if home() is None and context.invoked_subcommand != "doctor":
        from trainables.data.fingerprint import NO_HOME

        print(f"paretune: {NO_HOME}", file=sys.stderr)
        raise typer.Exit(INPUT_IS_WRONG)


SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.", show_default=False)]
SweepName = Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep: its name, or its file.", show_default=False)]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="Where results are: a folder, or a URI such as s3://bucket/folder. By default ./paretune-results.",
        envvar="PARETUNE_STORAGE",
    ),
]


@app.command()
def plan(
    sweep_file: SweepFile,
    format: Annotated[Literal["table", "json"], typer.Option(help="For people, or for scripts.")] = "table",
) -> None:
    """Check a sweep file and show every trial that would run. Needs no GPU, and takes less than a second.

    Your own task is not imported here: `run` tests it on the first rows of its data before it starts any trial.

    Example: paretune plan examples/digits.yaml
    """
    from orchestrator.commands.room_check import room_notes

    made = _plan_or_exit(sweep_file, as_json=format == "json")
    made = replace(made, notes=(*made.notes, *room_notes(made)))
    if format == "json":
        from orchestrator.report.plan_json import plan_as_json

        print(plan_as_json(made))
    else:
        from orchestrator.report.plan_table import print_plan
        from orchestrator.report.tables import print_table

        print_table(lambda console: print_plan(made, console))


@app.command()
def run(
    sweep_file: SweepFile,
    storage: StorageOption = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; 'auto' finds the one of this machine.")
    ] = None,
    executor: Annotated[
        Literal["ray", "inline"],
        typer.Option(help="Run trials with Ray, or one after another in this process (inline), to debug a task."),
    ] = "ray",
    retry_failed: RetryFailed = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines of progress, also in a terminal.")] = False,
) -> None:
    """Run or resume a sweep, then compare its trials. A finished trial never runs again.

    Example: paretune run examples/digits.yaml

    MLflow's database is in the storage (of a bucket: in ./paretune-results), or where MLFLOW_TRACKING_URI says.
    """
    from orchestrator.commands.run import run_command

    if executor == "inline" and address is not None:
        raise typer.BadParameter("--address needs the executor ray", param_hint="--executor")
    options = RunOptions(retry_failed=retry_failed)
    code = run_command(sweep_file, storage, address=address, executor=executor, options=options, plain=plain)
    raise typer.Exit(code)


@app.command()
def demo(
    storage: StorageOption = None,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines of progress, also in a terminal.")] = False,
) -> None:
    """Run a small sweep that comes with Paretune: batch sizes and compressed models for handwritten digits.

    Example: paretune demo

    It needs no sweep file and no download, and takes some minutes. Results go to ./paretune-results.
    """
    from orchestrator.commands.run import DEMO, run_command

    print(f"The sweep is {DEMO}")
    raise typer.Exit(run_command(DEMO, storage, plain=plain))


@app.command()
def compare(
    sweep: SweepName,
    storage: StorageOption = None,
    format: Annotated[
        Literal["table", "json", "csv", "parquet"], typer.Option(help="For people, scripts or data frames.")
    ] = "table",
    details: Annotated[
        bool, typer.Option("--details", help="Every reason with its figures, marks and warnings.")
    ] = False,
) -> None:
    """Compare the trials of a sweep: tables, the Pareto front, and one recommendation.

    Example: paretune compare digits --details
    """
    from orchestrator.commands.compare import compare_command

    raise typer.Exit(compare_command(sweep, storage, format, details=details))


@app.command()
def report(
    sweep: SweepName,
    storage: StorageOption = None,
    output: Annotated[str | None, typer.Option(help="The file to write. By default SWEEP.html, here.")] = None,
) -> None:
    """Write a self-contained HTML page with the plots of a sweep.

    Example: paretune report digits
    """
    from orchestrator.commands.compare import report_command

    raise typer.Exit(report_command(sweep, storage, output))


@app.command()
def ui(
    sweep: Annotated[str | None, typer.Argument(metavar="SWEEP", help="A sweep: its name, or its file.")] = None,
    storage: StorageOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the MLflow server.")] = 5000,
) -> None:
    """Open MLflow on the results.

    Example: paretune ui digits

    MLflow's database is in the storage (of a bucket: in ./paretune-results), or where MLFLOW_TRACKING_URI says.
    """
    from orchestrator.commands.ui import ui_command

    raise typer.Exit(ui_command(sweep, storage, port=port))


app.command("probe")(probe_command)
app.command("submit")(submit_command)
app.command("jobs")(jobs_command)
app.command("status")(status_command)
app.command("logs")(logs_command)
app.command("stop")(stop_command)
app.command("doctor")(doctor_command)


def _plan_or_exit(sweep_file: Path, *, as_json: bool = False) -> Plan:
    from orchestrator.diagnostics.problem import SweepError
    from orchestrator.planning.expand import expand
    from orchestrator.sweepfile.load import load_sweep

    try:
        return expand(load_sweep(sweep_file))
    except SweepError as error:
        print(error, file=sys.stderr)
        if as_json:
            print(error.as_json())
        raise typer.Exit(INPUT_IS_WRONG) from None


def main() -> None:
    """The entry point of the `paretune` command."""
    atexit.register(gc.freeze)  # otherwise Python spends seconds at exit on half a million objects of libraries
    _make_everything_printable()
    settle_in()
    app()


def _make_everything_printable() -> None:
    """Print characters that the locale lacks as escapes; discard output if a stream is closed (`>&-`)."""
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")
