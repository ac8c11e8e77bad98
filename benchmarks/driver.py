"""What the driver itself costs, and whether a trial of a large sweep costs more than one of a small sweep.

    python benchmarks/driver.py [inline] [ray] [stored] [--trials N] [--ray-trials N] [--stored-trials N] [--no-mlflow]

    inline    a sweep of 5,000 trials through the inline executor, and of 2,000 each of two kinds that grow by results
    ray       1,000 trials of `diabetes_mlp`, two steps each, through gangs on Ray
    stored    `compare --format json` and `report` over 10,000 stored trials, beside reading their files with `json`

Inline, a trial is a result that nobody worked for, made from one that was measured: what remains is the driver's own
work. Journal, stored plan, progress, goals and MLflow are those of `paretune run`. Prints seconds of CPU per trial in
the first and in the last hundred (the main thread, which the sweep waits for, and MLflow's thread apart), and what the
process has grown by beside the results that it keeps. Ends with 1 if a figure misses its goal.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean

import psutil
from record import recorded
from watched_sweep import WINDOW, Watch, watched

from orchestrator.analysis.plan_file import save_plan, stored_plan
from orchestrator.analysis.result_file import save_result
from orchestrator.planning.expand import expand
from orchestrator.running.executor import run_sweep
from orchestrator.running.inline import InlineExecutor
from orchestrator.running.observer import Observers
from orchestrator.sweep.plan import Plan
from orchestrator.sweepfile.load import load_sweep
from trainables.config.trial import AnyTrialConfig, BaselineConfig
from trainables.distributed.worker_context import WorkerContext
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage, trial_file

RATIO_GOAL = 1.2  # CPU of the last hundred trials over the first hundred
TRIAL_MS_GOAL = 20.0
COPIES = 2  # of a result: the ledger's, and the journal's with its readings
MEMORY_GOAL = 1.5  # growth of the process over what its results take
COMPARE_S_GOAL, REPORT_S_GOAL, PAGE_MB_GOAL = 2.0, 4.0, 6.0

SIZES, RATES = (8, 16, 32, 64), (0.25, 0.5, 1, 2, 4)
VARIANTS = "variants: [int8, {prune: {ratio: 0.5}}]"
SWEEPS = {
    "grid": "",
    "all": f"compression: {{parents: all, seeds: all, {VARIANTS}}}",
    "best": f"compression: {{parents: best_per_batch_size, seeds: all, {VARIANTS}}}",
    "edge": "",
}


def plan_of(folder: Path, kind: str, trials: int) -> Plan:
    """A sweep of about so many trials."""
    each = 4 if kind == "all" else 1
    seeds = max(1, round(trials / each / len(SIZES) / len(RATES)))
    extend = ", extend: 1" if kind == "edge" else ""
    file = folder / "driver.yaml"
    file.write_text(f"""name: driver
task: diabetes_mlp
objective: {{metric: val_loss, mode: min}}
budget: {{steps: 2}}
parameters:
  batch_size: {{values: {list(SIZES)}}}
  learning_rate: {{base: 0.01, at_batch_size: 32, rule: linear, multipliers: {list(RATES)}{extend}}}
  seed: {{values: {list(range(seeds))}}}
{SWEEPS[kind]}
""")
    return expand(load_sweep(file))


# -- trials that nobody works for ------------------------------------------------------------------------------------

_measured: list[TrialResult] = []


def run_trial(trial: str, config: AnyTrialConfig, worker: WorkerContext) -> Iterator[Report | TrialResult]:
    """The result of one trial that was trained, with a loss that is the lower the higher the learning rate."""
    rate = config.training.learning_rate  # type: ignore[union-attr]
    loss = Estimate(value=1 / (1 + rate), low=0.9 / (1 + rate), high=1.1 / (1 + rate), n=88)
    like = _measured[0]
    history = like.history if isinstance(config, BaselineConfig) else ()
    yield from history
    update = {"id": trial, "config": config, "history": history, "metrics": {**like.metrics, "val_loss": loss}}
    text = like.model_copy(update=update).model_dump_json()
    yield TrialResult.model_validate_json(text)  # one of its own, as it comes from a worker


def measure_one(folder: Path) -> TrialResult:
    """Train one trial in earnest."""
    plan = plan_of(folder, "grid", 20)
    plan = Plan(plan.sweep, plan.trials[:1], ())
    (result,) = run_sweep(plan, Storage(str(folder / "one")), Observers(()), InlineExecutor()).results.values()
    assert result.status is Status.COMPLETED, result.details
    return result.model_copy(update={"files": {}})


# -- the cost of a sweep -------------------------------------------------------------------------------------------


def bytes_of(results: list[TrialResult]) -> float:
    """What one result takes in memory, measured on copies of some."""
    gc.collect()
    before = psutil.Process().memory_info().rss
    texts = [result.model_dump_json() for result in results[:1000]]
    copies = [TrialResult.model_validate_json(text) for text in texts for _ in range(5)]
    size = psutil.Process().memory_info().rss - before
    return (size - sum(map(len, texts))) / len(copies)


@dataclass
class Goals:
    """Figures beside their goals."""

    missed: int = 0

    def check(self, what: str, value: float, goal: float, unit: str) -> None:
        word = "met" if value <= goal else "MISSED"
        self.missed += value > goal
        print(f"    {what}: {value:.2f}{unit}, goal at most {goal:g}{unit}: {word}", flush=True)


def judge(watch: Watch, results: list[TrialResult], goals: Goals) -> None:
    first, last = (1000 * fmean(part) for part in (watch.main_s[:WINDOW], watch.main_s[-WINDOW:]))
    print(f"    {first:.2f} ms of CPU per trial in the first {WINDOW}, {last:.2f} ms in the last", flush=True)
    goals.check("last over first", last / first, RATIO_GOAL, "")
    goals.check("ms of CPU per trial", 1000 * fmean(watch.main_s), TRIAL_MS_GOAL, " ms")
    whole = 1000 * watch.whole_s / len(watch.main_s)
    print(f"    with MLflow's thread, which no trial waits for: {1000 * fmean(watch.all_s):.2f} ms; ", end="")
    print(f"{whole:.2f} ms until MLflow has all of it", flush=True)
    if len(watch.memory) > 10:
        count = WINDOW * (len(watch.memory) - 1)
        grown = (watch.memory[-1] - watch.memory[0]) / count
        kept = bytes_of(results)
        print(f"    the process grew by {grown / 1024:.1f} KiB per trial, a result takes {kept / 1024:.1f} KiB")
        goals.check("growth over the two copies that are kept", grown / kept / COPIES, MEMORY_GOAL, "")


def inline(options: argparse.Namespace, goals: Goals) -> None:
    sweeps = {"grid": options.trials, "all": options.trials * 2 // 5, "edge": options.trials * 2 // 5}
    for kind, trials in sweeps.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _measured[:] = [measure_one(folder)]
            plan = plan_of(folder, kind, trials)
            began = time.perf_counter()
            executor = InlineExecutor("driver:run_trial")
            sys.modules.setdefault("driver", sys.modules["__main__"])
            watch, results = watched(plan, folder / "runs", executor, mlflow=options.mlflow)
            took = time.perf_counter() - began
            print(f"inline, {kind}: {len(watch.main_s)} trials in {took:.0f} s", flush=True)
            judge(watch, results, goals)


def ray(options: argparse.Namespace, goals: Goals) -> None:
    from orchestrator.running.tuner import RayExecutor

    with tempfile.TemporaryDirectory() as name:
        plan = plan_of(Path(name), "grid", options.ray_trials)
        began = time.perf_counter()
        watch, results = watched(plan, Path(name) / "runs", RayExecutor(), mlflow=options.mlflow)
        print(f"ray: {len(watch.main_s)} trials in {time.perf_counter() - began:.0f} s", flush=True)
        watch.main_s, watch.all_s = watch.main_s[10:], watch.all_s[10:]  # not the start of Ray and its gangs
        judge(watch, results, goals)


# -- a sweep that is stored ------------------------------------------------------------------------------------------


def store(plan: Plan, storage: Storage) -> None:
    """Its results, one trial after another."""
    worker, began = WorkerContext(storage, Path()), datetime.now(UTC)
    for number, trial in enumerate(plan.trials):
        *_, result = run_trial(trial.id, trial.config, worker)
        assert isinstance(result, TrialResult)
        span = {"started_at": began + timedelta(seconds=number), "ended_at": began + timedelta(seconds=number + 1)}
        environment = result.environment | {name: time.isoformat() for name, time in span.items()}
        save_result(storage, result.model_copy(update={"environment": environment}))
    save_plan(storage, stored_plan(plan))


def cpu_seconds(command: Callable[[], object]) -> float:
    """Of this process and of those that it waits for."""

    def now() -> float:
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, who))

    began = now()
    command()
    return now() - began


def stored(options: argparse.Namespace, goals: Goals) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _measured[:] = [measure_one(folder)]
        plan, storage = plan_of(folder, "grid", options.stored_trials), Storage(str(folder / "runs"))
        store(plan, storage)

        def read() -> None:
            for trial in plan.trials:
                json.loads(storage.read(trial_file(trial.id, "result.json")))

        def paretune(*words: str) -> None:
            command = [sys.executable, "-m", "orchestrator", *words, "driver", "--storage", storage.uri]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)

        size = sum(len(storage.read(trial_file(trial.id, "result.json"))) for trial in plan.trials)
        print(f"stored: {len(plan.trials)} trials, {size / len(plan.trials) / 1024:.1f} KiB each", flush=True)
        print(f"    reading the files with json: {cpu_seconds(read):.2f} s of CPU", flush=True)
        compare = cpu_seconds(lambda: paretune("compare", "--format", "json"))
        goals.check("compare --format json, CPU", compare, COMPARE_S_GOAL, " s")
        goals.check("report, CPU", cpu_seconds(lambda: paretune("report")), REPORT_S_GOAL, " s")
        goals.check("its page", (folder / "driver.html").stat().st_size / 1e6, PAGE_MB_GOAL, " MB")


PARTS = {"inline": inline, "ray": ray, "stored": stored}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], help="by default all")
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--ray-trials", type=int, default=1000)
    parser.add_argument("--stored-trials", type=int, default=10000)
    parser.add_argument("--no-mlflow", dest="mlflow", action="store_false")
    options, goals = parser.parse_args(), Goals()
    for part in options.parts or PARTS:
        PARTS[part](options, goals)
    print(f"{goals.missed} figures miss their goals")
    return int(goals.missed > 0)


if __name__ == "__main__":
    sys.exit(recorded(main))
