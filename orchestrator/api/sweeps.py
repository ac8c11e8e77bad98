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

SweepLike = str | PathLike[str] | Mapping[str, Any]  # a sweep file, or its content


def plan(sweep: SweepLike) -> SweepPlan:
    """Check a sweep and return every trial that would run. Imports no torch, no Ray, no MLflow.

    `sweep`: a file, or its content as a dict, whose relative paths start at the current folder.
    Raises SweepError with all problems.
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
    """Run or resume a sweep, then compare its trials. A finished trial never runs again.

    `sweep`: as for `plan`. `storage`: a folder, or a URI such as s3://bucket/folder; by default $PARETUNE_STORAGE, or
    ./paretune-results. `address`: a running Ray cluster; `auto` finds the one of this machine.
    `executor`: run trials with Ray, or one after another in this process (`inline`), to debug a task.
    `retry_failed`: run failed trials again. `plain`: plain lines of progress, also in a terminal.

    A failed trial is a result, not an exception: if all trials fail, the comparison recommends nothing.
    Raises SweepError for an invalid sweep, NeverFitsError for a trial that no node can hold, SweepIsRunningError if
    another driver is running the sweep, Interrupted on Ctrl-C, and other errors of ParetuneError's tree.
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
    """Run the small sweep on handwritten digits that comes with Paretune. It takes some minutes and no download."""
    from orchestrator.commands.run import DEMO

    return run(DEMO, storage, plain=plain)


def compare(sweep: str | PathLike[str], storage: str | PathLike[str] | None = None) -> Comparison:
    """The results of a sweep so far: its trials, the Pareto front, and one recommendation.

    `sweep`: its name, or its file. `.text(details=True)` is the output with `--details`. Raises TableError if the
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
    """Write a self-contained HTML page with a sweep's plots, by default to `<name>.html` here. Returns its path."""
    return compare(sweep, storage).report(None if output is None else Path(output))


def ui(
    sweep: str | PathLike[str] | None = None, storage: str | PathLike[str] | None = None, *, port: int = 5000
) -> None:
    """Serve the MLflow UI on the results until KeyboardInterrupt; if a server runs already, only print its address."""
    from orchestrator.commands.ui import serve_pages

    settle_in()
    serve_pages(None if sweep is None else fspath(sweep), _text(storage), port=port)


def _source(sweep: SweepLike) -> Path | Mapping[str, Any]:
    return sweep if isinstance(sweep, Mapping) else Path(sweep)


def _text(storage: str | PathLike[str] | None) -> str | None:
    return None if storage is None else fspath(storage)
