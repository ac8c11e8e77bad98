"""A sweep as `paretune run` runs it, whose driver's processor time is taken at the end of each trial."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from orchestrator.adaptive.resolve import Outlook
from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow.recorder import Recorder
from orchestrator.running.executor import Executor, run_sweep
from orchestrator.running.goal_status import GoalStatus
from orchestrator.running.observer import Observers
from orchestrator.running.plan_keeper import PlanKeeper
from orchestrator.running.progress import Progress
from orchestrator.sweep.plan import Plan, Trial
from trainables.results import Report, TrialResult
from trainables.storage import Storage

WINDOW = 100  # trials


@dataclass
class Watch:
    """An observer that takes the time whenever a trial has ended."""

    main_s: list[float] = field(default_factory=list)  # CPU seconds of the main thread, since the trial before
    all_s: list[float] = field(default_factory=list)  # of the process, MLflow's thread included
    memory: list[int] = field(default_factory=list)  # bytes of the process, at each hundredth trial
    whole_s: float = 0.0  # CPU seconds of the process for the sweep, until MLflow has all of it
    _since: tuple[float, float] = (0.0, 0.0)

    def planned(self, outlook: Outlook) -> None:
        if not self.main_s:
            self._since = time.thread_time(), time.process_time()

    def started(self, trial: Trial) -> None:
        pass

    def report(self, trial_id: str, report: Report) -> None:
        pass

    def waits(self, trial_id: str, reason: str) -> None:
        pass

    def ended(self, result: TrialResult) -> None:
        now = time.thread_time(), time.process_time()
        self.main_s.append(now[0] - self._since[0])
        self.all_s.append(now[1] - self._since[1])
        if len(self.main_s) % WINDOW == 0:
            self.memory.append(psutil.Process().memory_info().rss)
        self._since = time.thread_time(), time.process_time()


def watched(plan: Plan, folder: Path, executor: Executor, *, mlflow: bool) -> tuple[Watch, list[TrialResult]]:
    """The sweep as `paretune run` does it, without the picture of its progress."""
    storage, watch, began = Storage(str(folder)), Watch(), time.process_time()
    with ExitStack() as stack:
        stack.callback(lambda: setattr(watch, "whole_s", time.process_time() - began))
        journal = stack.enter_context(Journal(storage, plan.sweep.name))
        keeper, progress = PlanKeeper(plan, storage), Progress(plan)
        if mlflow:
            recorder = Recorder(journal, plan=plan)
            stack.callback(lambda: print(f"    MLflow: {recorder.close(note='', recommended=None) or 'has all of it'}"))
        observer = GoalStatus(plan, Observers((journal, keeper, progress, watch)))
        results = run_sweep(plan, storage, observer, executor).results
        keeper.save()
        return watch, list(results.values())
