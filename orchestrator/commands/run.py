"""`paretune run`, from the sweep file to the recommendation.

    check -> plan -> run the trials -> read the test data for the recommended one -> compare
If it is killed at any point, the same command resumes from there.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from orchestrator.analysis.comparison import SweepComparison, load_comparison
from orchestrator.analysis.plan_file import left_behind
from orchestrator.commands.compare import show_comparison, storage_of
from orchestrator.commands.live_display import display, outliving_its_readers
from orchestrator.commands.test_reading import read_test_data
from orchestrator.diagnostics.problem import SweepError
from orchestrator.exit_codes import DONE, FAILED, INPUT_IS_WRONG, RUNNING_ELSEWHERE
from orchestrator.machine.environment import load_note, outer_run_note
from orchestrator.machine.signals import Interrupts, heeding_signals
from orchestrator.planning.expand import expand
from orchestrator.recording.journal import Journal
from orchestrator.recording.journal_view import JournalError
from orchestrator.recording.lease import SweepIsRunningError
from orchestrator.recording.mlflow.recorder import Recorder
from orchestrator.remote.tracking import TrackingError, check_tracking, default_tracking_uri
from orchestrator.run_options import RunOptions
from orchestrator.running.executor import (
    Executor,
    ExecutorName,
    Interrupted,
    NobodyAtWorkError,
    run_sweep,
)
from orchestrator.running.goal_status import GoalStatus
from orchestrator.running.observer import Observers
from orchestrator.running.patience import PatientStorage, StorageFailsError
from orchestrator.running.plan_keeper import PlanKeeper
from orchestrator.running.ray_connection import RaySettings, RayStartError
from orchestrator.running.resources import NeverFitsError
from orchestrator.running.tuner import RayExecutor
from orchestrator.sweep.plan import Plan
from orchestrator.sweepfile.load import load_sweep
from orchestrator.task_facts.requirements import check_asked
from orchestrator.wording.earlier import earlier_words
from orchestrator.wording.recommendation import recommendation_headline
from trainables.data.fingerprint import NoHomeError, default_cache, writable_cache
from trainables.errors import InputError
from trainables.redact import without_credentials
from trainables.storage import trial_file, within

DEMO = Path(str(files("orchestrator"))) / "demo" / "digits.yaml"  # part of the wheel, so it needs no clone


def run_command(
    sweep_file: Path,
    storage: str | None,
    *,
    address: str | None = None,
    executor: ExecutorName = "ray",
    options: RunOptions | None = None,
    plain: bool = False,
) -> int:
    """Run or resume a sweep, and print the comparison. Returns the exit code.

    `address`: the address of a Ray cluster; None with the inline executor, which needs none.
    """
    with outliving_its_readers(), heeding_signals() as interrupts:
        options = options or RunOptions()
        try:
            return _run_and_print(sweep_file, storage, executor_named(executor, address), options, plain, interrupts)
        except (Interrupted, KeyboardInterrupt) as interrupt:
            print(f"\nparetune: {str(interrupt) or 'interrupted'}", file=sys.stderr)
            inline = [] if executor == "ray" else ["--executor", executor]
            again = [*_options(storage, address), *inline, *options.words(), *(["--plain"] if plain else [])]
            print(f"Go on with: {shlex.join([_program(), 'run', str(sweep_file), *again])}", file=sys.stderr)
            print(_left_out(storage), end="", file=sys.stderr)
            return interrupts.exit_code


def _run_and_print(
    sweep_file: Path,
    storage: str | None,
    executor: Executor,
    options: RunOptions,
    plain: bool,
    interrupts: Interrupts,
) -> int:
    where = storage_of(storage)
    try:
        plan, place = prepare(sweep_file, where)
    except SweepError as error:
        print(error, file=sys.stderr)
        return INPUT_IS_WRONG
    except (ValueError, NoHomeError) as error:
        print(f"paretune: {error}", file=sys.stderr)
        return INPUT_IS_WRONG
    try:
        comparison = run_plan(plan, place, executor, interrupts, options=options, plain=plain)
    except SweepIsRunningError as error:
        print(f"paretune: {error}", file=sys.stderr)
        return RUNNING_ELSEWHERE
    except (NeverFitsError, JournalError, TrackingError) as error:
        print(f"paretune: {error}", file=sys.stderr)
        return INPUT_IS_WRONG
    except (RayStartError, NobodyAtWorkError, StorageFailsError, OSError) as error:  # OSError: it fails at the start
        print(f"paretune: {error}", file=sys.stderr)
        return FAILED
    show_comparison(comparison)
    _say_what_next(comparison, storage, where)
    return DONE if comparison.table.has_completed else FAILED


def prepare(sweep: Path | Mapping[str, Any], where: str) -> tuple[Plan, PatientStorage]:
    """The plan of a sweep, after a dry run of its task on the first rows of data, and its storage. Runs no trial.

    Raises SweepError for problems of the sweep, InputError or NoHomeError for problems of its surroundings.
    """
    writable_cache()
    plan = expand(load_sweep(sweep, import_task=True))
    check_asked(plan)
    return plan, PatientStorage(where)


def run_plan(
    plan: Plan,
    place: PatientStorage,
    executor: Executor,
    interrupts: Interrupts,
    *,
    options: RunOptions,
    plain: bool = False,
) -> SweepComparison:
    """Run the remaining trials of a plan, show the progress, and compare.

    Raises SweepIsRunningError, NeverFitsError, JournalError or TrackingError before any trial runs; RayStartError,
    NobodyAtWorkError or StorageFailsError if the run cannot continue; Interrupted.
    """
    for note in plan.sweep.facts.notes:
        print(f"note: {note}")
    with Journal(place, plan.sweep.name) as journal:
        _run(plan, place, journal, executor, interrupts, options=options, plain=plain)
        return load_comparison(place, plan.sweep.name)


def _run(
    plan: Plan,
    storage: PatientStorage,
    journal: Journal,
    executor: Executor,
    interrupts: Interrupts,
    *,
    options: RunOptions,
    plain: bool,
) -> None:
    """Run the trials, then read the test data once. Everything is recorded, however this ends."""
    earlier = earlier_words(left_behind(storage, plan))  # must come before the keeper overwrites the stored plan
    keeper = PlanKeeper(plan, storage)
    for note in filter(None, (outer_run_note(), load_note() if executor.is_here else "")):
        print(f"paretune: {note}", file=sys.stderr)
    check_tracking(default_tracking_uri(storage))
    recorder = Recorder(journal, plan=plan)
    comparison: SweepComparison | None = None
    try:
        with display(plan, plain=plain, earlier=earlier) as shown:
            storage.be_patient(shown.tell)
            run_sweep(
                plan,
                storage,
                GoalStatus(plan, Observers((journal, keeper, shown))),
                executor,
                earlier=journal.readings_of_open_trials(),
                retry_failed=options.retry_failed,
                tell=shown.tell,
            )
        keeper.save()
        comparison = read_test_data(plan, storage, default_cache())
    finally:
        found = None if comparison is None else comparison.recommendation
        chosen = None if found is None or found.row is None else found.row.id
        note = "" if comparison is None else recommendation_headline(comparison.table, comparison.recommendation)
        if (unsent := recorder.close(note=note, recommended=chosen, interrupts=interrupts)) is not None:
            print(f"paretune: {unsent}", file=sys.stderr)


def executor_named(name: ExecutorName, address: str | None) -> Executor:
    """`address`: the address of a Ray cluster; by default Ray starts on this machine. Raises InputError."""
    if name == "inline" and address is not None:
        raise InputError("an address needs the executor ray: the inline executor runs trials in this process")
    match name:
        case "ray":
            return RayExecutor(RaySettings(address=address))
        case "inline":
            from orchestrator.running.inline import InlineExecutor  # imports torch, which the Ray driver does not need

            return InlineExecutor()


def _say_what_next(comparison: SweepComparison, storage: str | None, where: str) -> None:
    """Print the path of the recommended model, and complete commands that show the results again."""
    rest = [comparison.table.plan.name, *_options(storage)]
    print()
    row = comparison.recommendation.row
    if row is not None and row.result is not None and "model" in row.result.files:
        print(f"{'The model:':17} {within(without_credentials(where), trial_file(row.id, row.result.files['model']))}")
    for what, command, *options in (
        ("All the figures:", "compare", "--details"),
        ("A page of plots:", "report"),
        ("Open MLflow:", "ui"),
    ):
        print(f"{what:17} {shlex.join([_program(), command, *rest, *options])}")
    print(_left_out(storage), end="")


def _options(storage: str | None, address: str | None = None) -> list[str]:
    """The options as given, but without user names and passwords, as the output may go into logs."""
    given = {"--storage": storage and without_credentials(storage), "--address": address}
    return [word for option, value in given.items() if value is not None for word in (option, value)]


def _left_out(storage: str | None) -> str:
    """A line about credentials that the printed commands leave out, if they leave out any."""
    if not storage or without_credentials(storage) == storage:
        return ""
    return "--storage is shown without its credentials: add them again, or set PARETUNE_STORAGE\n"


def _program() -> str:
    """The command as it can be typed here: `.venv/bin/paretune` if it was started so and is not on the PATH."""
    started = Path(sys.argv[0])
    found_by_a_shell = shutil.which("paretune") is not None or started.is_absolute() or started.name != "paretune"
    return "paretune" if found_by_a_shell else str(started)
