"""The commands about a sweep, as functions: plan, run, compare, report, ui."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.api.planned import SweepPlan
from orchestrator.commands.room_check import room_notes
from orchestrator.machine.environment import settle_in
from orchestrator.planning.expand import expand
from orchestrator.run_options import RunOptions
from orchestrator.sweepfile.load import load_sweep

if TYPE_CHECKING:
    from orchestrator.api.comparison import Comparison

SweepLike = str | PathLike[str] | Mapping[str, Any]  # a sweep file, or what stands in one


def plan(sweep: SweepLike) -> SweepPlan:
    """Check a sweep and return every trial that would run. Imports no torch, no Ray, no MLflow.

    `sweep`: a file, or its content as a dict, in which relative places start at the current folder.
    Raises SweepError with everything that is wrong.
    """
    made = expand(load_sweep(_source(sweep)))
    return SweepPlan(replace(made, notes=(*made.notes, *room_notes(made))))


def run(
    sweep: SweepLike,
    storage: str | PathLike[str] | None = None,
    *,
    address: str | None = None,
    executor: Literal["ray", "inline"] = "ray",
    retry_failed: bool = False,
    plain: bool = False,
) -> Comparison:
    """Run a sweep, or what is left of it, then compare. Finished trials are never run twice: called again, it resumes.

    `sweep`: as of `plan`. `storage`: a folder, or a URI such as s3://bucket/folder; by default $PARETUNE_STORAGE, or
    ./paretune-results. `address`: a running Ray cluster; `auto` finds the one of this machine.
    `executor`: what runs the trials, Ray, or this process, one trial after another (`inline`), to debug a task.
    `retry_failed`: run failed trials again. `plain`: plain lines of progress, also in a terminal.

    How a trial ended is in the value: a sweep whose every trial failed returns a comparison that recommends nothing.
    Raises SweepError for a wrong sweep, NeverFitsError for a trial with no room, SweepIsRunningError if another driver
    is running it, Interrupted on Ctrl-C, and other errors of ParetuneError's tree.
    """
    from orchestrator.api.comparison import Comparison
    from orchestrator.commands.compare import storage_of
    from orchestrator.commands.live_display import outliving_its_readers
    from orchestrator.commands.run import executor_named, prepare, run_plan
    from orchestrator.machine.signals import heeding_signals

    settle_in()
    with outliving_its_readers(), heeding_signals(may_leave=False) as interrupts:
        made, place = prepare(_source(sweep), storage_of(_text(storage)))
        options = RunOptions(retry_failed=retry_failed)
        found = run_plan(made, place, executor_named(executor, address), interrupts, options=options, plain=plain)
    return Comparison(found, place)


def demo(storage: str | PathLike[str] | None = None, *, plain: bool = False) -> Comparison:
    """Run the small sweep that comes with Paretune, as `run` does: handwritten digits, some minutes, no download."""
    from orchestrator.commands.run import DEMO

    return run(DEMO, storage, plain=plain)


def compare(sweep: str | PathLike[str], storage: str | PathLike[str] | None = None) -> Comparison:
    """What a sweep has found so far: its trials, the Pareto front, and one recommendation.

    `sweep`: its name, or its file. `.text(details=True)` is all that `--details` prints. Raises TableError where the
    storage has no such sweep.
    """
    from orchestrator.analysis.comparison import load_comparison
    from orchestrator.api.comparison import Comparison
    from orchestrator.commands.compare import storage_of, sweep_name
    from trainables.storage import Storage

    place = Storage(storage_of(_text(storage)))
    return Comparison(load_comparison(place, sweep_name(fspath(sweep))), place)


def report(
    sweep: str | PathLike[str],
    storage: str | PathLike[str] | None = None,
    *,
    output: str | PathLike[str] | None = None,
) -> Path:
    """Write one HTML page with the plots of a sweep, by default to `<name>.html` here. Returns where it is."""
    return compare(sweep, storage).report(None if output is None else Path(output))


def ui(
    sweep: str | PathLike[str] | None = None, storage: str | PathLike[str] | None = None, *, port: int = 5000
) -> None:
    """Serve MLflow's pages on the results, until KeyboardInterrupt; where a server has them, print the address only."""
    from orchestrator.commands.ui import serve_pages

    settle_in()
    serve_pages(None if sweep is None else fspath(sweep), _text(storage), port=port)


def _source(sweep: SweepLike) -> Path | Mapping[str, Any]:
    return sweep if isinstance(sweep, Mapping) else Path(sweep)


def _text(storage: str | PathLike[str] | None) -> str | None:
    return None if storage is None else fspath(storage)
