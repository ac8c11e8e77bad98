"""The progress of a sweep as text, for the live display and for plain lines."""

from __future__ import annotations

from orchestrator.running.progress import Progress
from orchestrator.text import plural
from trainables.config.trial import VariantConfig
from trainables.results import Status, TrialResult


def counts_words(progress: Progress) -> str:
    """`12 of 42 done, 2 running, 28 waiting`."""
    without_workers = sum(running.waits is not None for running in progress.running.values())
    running, waiting = len(progress.running) - without_workers, progress.waiting + without_workers
    return f"{len(progress.results)} of {progress.total} done, {running} running, {waiting} waiting"


def running_words(progress: Progress) -> str:
    """`; for 45 s now: batch 32, rate 0.025, int8, seed 0`: the trial that runs, if only one does."""
    if len(progress.running) != 1:
        return ""
    (running,) = progress.running.values()
    if running.waits is not None:
        return f" {running.waits}"
    made = ", compressed and measured" if isinstance(running.trial.config, VariantConfig) else ""
    return f"; for {duration(progress.seconds_of(running))} now: {progress.describe(running.trial)}{made}"


def pace_words(progress: Progress) -> str:
    """Time left, throughput and the best result so far; unknown figures are left out."""
    words = []
    if progress.running and not progress.at_work:
        limit = duration(60 * progress.plan.sweep.resources.no_progress_minutes)
        waits = any(running.waits for running in progress.running.values())
        ends = "" if waits else f" (a trial without any progress for {limit} is ended)"
        words.append(f"no evaluation for {duration(progress.silence)}{ends}")
    if (left := progress.time_left()) is not None and (left.seconds >= 1 or not left.is_least):
        words.append(f"{'at least' if left.is_least else 'about'} {duration(left.seconds)} left")
    if (speed := progress.examples_per_second) is not None:
        words.append(f"{speed:,.0f} examples/s")
    if progress.best is not None:
        value = progress.objective_of(progress.best)
        words.append(f"best {progress.plan.sweep.objective.metric} {value:.4g} ({progress.describe(progress.best)})")
    return "; ".join(words) or "no evaluation yet"


def ended_words(progress: Progress, result: TrialResult) -> str:
    """How one trial ended: `171bad6fd2e7  batch 8, rate 0.1, seed 0: completed, val_accuracy 0.975`."""
    value = progress.objective_of(result)
    figure = "" if value is None else f", {progress.plan.sweep.objective.metric} {value:.4g}"
    reason = f", {result.reason}" if result.reason else ""
    return f"{result.id}  {progress.describe(result)}: {status_words(result.status)}{figure}{reason}"


def closing_words(progress: Progress, why: str = "") -> str:
    """The last line of a run. `why`: the reason why some trials were not run to their end."""
    completed = len(progress.results) - sum(progress.failures.values())
    failures = "".join(f", {count} {status_words(status)}" for status, count in progress.failures.most_common())
    missing = progress.total - len(progress.results)
    unfinished = f", {missing} not done{f': {why}' if why else ''}" if missing > 0 else ""
    took = f"{plural(progress.total, 'trial')} in {duration(progress.elapsed)}"
    return f"{took}: {completed} completed{failures}{unfinished}"


def duration(seconds: float) -> str:
    """`8 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def status_words(status: Status) -> str:
    """`out of memory`."""
    return status.value.replace("_", " ")
