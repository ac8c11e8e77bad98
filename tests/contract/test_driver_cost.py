"""A trial of a large sweep costs its driver no more than one of a small sweep: counted in calls, not in seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import FrameType
from typing import Any

import pytest

from orchestrator.recording.journal import Journal
from orchestrator.running.executor import run_sweep
from orchestrator.running.goal_status import GoalStatus
from orchestrator.running.inline import InlineExecutor
from orchestrator.running.observer import Observers
from orchestrator.running.plan_keeper import PlanKeeper
from orchestrator.running.progress import Progress
from orchestrator.sweep.plan import Plan
from orchestrator.sweep.spec import EarlyStopping, Goal
from tests.support.scripted import Told, pending, scripted, sweep_of
from trainables.config.trial import BaselineConfig
from trainables.distributed.worker_context import WorkerContext
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage

TRIALS, WINDOW = 120, 20
OWN = f"{Path(sys.modules[InlineExecutor.__module__].__file__ or '').parents[1]}/"  # the package orchestrator


def run_trial(trial: str, config: Any, worker: WorkerContext) -> Iterator[Report | TrialResult]:
    """Two readings and a result, at once."""
    history = tuple(Report(step=n, examples=1500 * n, seconds=n, metrics={"val_accuracy": 0.5}) for n in (1, 2))
    history = history if isinstance(config, BaselineConfig) else ()
    yield from history
    metrics = {"val_accuracy": Estimate.exact(0.5)}
    yield TrialResult(id=trial, config=config, status=Status.COMPLETED, history=history, metrics=metrics)


class Calls(Told):
    """Counts the calls that the driver's own code makes, of Python's functions and of C's, from one end to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.each: list[int] = []
        self._count = 0

    def ended(self, result: TrialResult) -> None:
        self.each.append(self._count)
        self._count = 0

    def see(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(OWN):
            self._count += 1


def plans() -> dict[str, Plan]:
    grid = [scripted(seed) for seed in range(TRIALS)]
    few = grid[: TRIALS // 4]
    goals = (Goal(metric="val_accuracy", type="threshold", value=0.4),)
    compressed = sweep_of(*few, pending=[pending([trial], chain_length=n) for trial in few for n in (0, 1, 2)])
    return {
        "grid": sweep_of(*grid),
        "early stopping": sweep_of(*grid, early_stopping=EarlyStopping(grace_fraction=0.25, reduction_factor=4)),
        "compression": replace(compressed, sweep=compressed.sweep.model_copy(update={"goals": goals})),
    }


@pytest.mark.parametrize("kind", plans())
def test_the_last_trials_of_a_sweep_cost_the_driver_as_many_calls_as_the_first(kind: str, tmp_path: Path) -> None:
    plan, storage, calls = plans()[kind], Storage(str(tmp_path)), Calls()
    with Journal(storage, plan.sweep.name) as journal:
        keeper, progress = PlanKeeper(plan, storage), Progress(plan)
        observer = GoalStatus(plan, Observers((journal, keeper, progress, calls)))
        sys.setprofile(calls.see)
        try:
            run_sweep(plan, storage, observer, InlineExecutor(f"{__name__}:run_trial"))
        finally:
            sys.setprofile(None)
    ended = calls.each[1:]  # the first has what comes before it, too
    assert len(ended) == TRIALS - 1
    of_one_kind = ended if kind != "compression" else ended[TRIALS // 4 :]  # variants come after all baselines
    first, last = fmean(of_one_kind[:WINDOW]), fmean(of_one_kind[-WINDOW - 1 : -1])  # the very last ends the sweep
    assert 0 < last <= 1.05 * first
