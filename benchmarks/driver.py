"""What the driver itself costs per trial, and whether the trials of a large sweep cost more than those of a small one.

    python benchmarks/driver.py [--trials 500 5000]

The driver's own parts do a sweep without Ray: a clockwork asks for trials, as Tune does, and ends each with a result at
once. Ledger, admission, journal, stored plan and progress are the ones that `paretune run` uses; nothing is trained.
Three sweeps: every trial stands in the file and every baseline is compressed in three ways; the best baseline of each
batch size is; and learning rates beyond the edge are asked for. Prints CPU milliseconds per trial of a small and of a
large sweep, and of the first and the last hundred baselines and variants. Ends with 1 if a trial of the large sweep
costs more than the goal times one of the small sweep.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from ray.tune.search import Searcher
from record import recorded

from orchestrator.planning.expand import expand
from orchestrator.recording.journal import Journal
from orchestrator.running.gang import Assignment
from orchestrator.running.ledger import Ledger
from orchestrator.running.observer import Observers
from orchestrator.running.plan_keeper import PlanKeeper
from orchestrator.running.progress import Progress
from orchestrator.running.resources import ClusterNode
from orchestrator.running.searcher import Admission
from orchestrator.sweep.plan import Plan, Trial
from orchestrator.sweepfile.load import load_sweep
from trainables.config.trial import BaselineConfig
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage
from trainables.worker.ray_worker import WorkerGroupConfig

GOAL = 1.2
WINDOW = 100
CORES = 4
SIZES, RATES = (8, 16, 32, 64), (0.25, 0.5, 1, 2, 4)
COMPRESSED = "compression: {{parents: {parents}, seeds: all, variants: [int8, {{prune: {{ratio: 0.5}}}}]}}"
SWEEPS = {"all": COMPRESSED.format(parents="all"), "best": COMPRESSED.format(parents="best_per_batch_size"), "edge": ""}


def sweep_file(folder: Path, kind: str, trials: int) -> Path:
    """A sweep of about so many trials."""
    each = 4 if kind == "all" else 1
    seeds = max(1, round(trials / each / len(SIZES) / len(RATES)))
    extend = ", extend: 1" if kind == "edge" else ""
    text = f"""name: driver
task: diabetes_mlp
objective: {{metric: val_loss, mode: min}}
budget: {{steps: 2}}
parameters:
  batch_size: {{values: {list(SIZES)}}}
  learning_rate: {{base: 0.01, at_batch_size: 32, rule: linear, multipliers: {list(RATES)}{extend}}}
  seed: {{values: {list(range(seeds))}}}
{SWEEPS[kind]}
"""
    file = folder / "driver.yaml"
    file.write_text(text)
    return file


def result_of(trial: Trial) -> TrialResult:
    """A result that nobody worked for: the higher the learning rate the better, so that the edge is best."""
    rate = trial.training.learning_rate
    history = ()
    if isinstance(trial.config, BaselineConfig):
        reading = {"val_loss": 1 / (1 + rate), "train_loss": 1.0}
        history = tuple(Report(step=n, examples=n * 32, seconds=0.1 * n, metrics=reading) for n in (1, 2))
    metrics = {"val_loss": Estimate(value=1 / (1 + rate), low=0.0, high=1.0, n=88)}
    return TrialResult(id=trial.id, config=trial.config, status=Status.COMPLETED, history=history, metrics=metrics)


def play(plan: Plan, folder: Path) -> dict[str, list[float]]:
    """CPU seconds of the driver for each trial, in the order in which they ended, by their kind."""
    storage = Storage(str(folder))
    with Journal(storage, plan.sweep.name) as journal:
        keeper, progress = PlanKeeper(plan, storage), Progress(plan)
        ledger = Ledger(plan, storage, Observers((journal, keeper, progress)))
        ledger.load()
        template = WorkerGroupConfig(
            num_workers=1, cpus_per_worker=1, gpus_per_worker=0, storage=storage.uri, scratch=str(folder)
        )
        admission = Admission(ledger, [ClusterNode(CORES, 0)], template)
        running: dict[str, str] = {}
        seconds: dict[str, list[float]] = defaultdict(list)
        asked, since = 0, time.process_time()
        while True:
            asked += 1
            suggested = admission.suggest(str(asked))
            if suggested == Searcher.FINISHED:
                return seconds
            if suggested is not None:
                running[str(asked)] = Assignment.model_validate_json(suggested["assignment"]).trial
                ledger.started(running[str(asked)])
                continue
            name, trial = next(iter(running.items()))
            result = result_of(ledger.trials[trial])
            for report in result.history:
                ledger.report(trial, report)
            ledger.ended(result)
            assert progress.total >= len(progress.results)
            del running[name]
            admission.on_trial_complete(name)
            now = time.process_time()
            seconds[result.kind].append(now - since)
            since = now


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[500, 5000], help="of the sweeps that are compared")
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    options = parser.parse_args()
    highest = 0.0
    for kind in options.sweeps:
        means: list[float] = []
        for trials in options.trials:
            with tempfile.TemporaryDirectory() as folder:
                plan = expand(load_sweep(sweep_file(Path(folder), kind, trials)))
                seconds = play(plan, Path(folder))
            means.append(1000 * fmean(second for each in seconds.values() for second in each))
            print(f"{kind}: {sum(map(len, seconds.values()))} trials, {means[-1]:.2f} ms each")
            for of, each in seconds.items():
                first, last = (1000 * fmean(part) for part in (each[:WINDOW], each[-WINDOW:]))
                print(f"    {len(each)} {of}s: {first:.2f} ms in the first {WINDOW}, {last:.2f} ms in the last")
        highest = max(highest, means[-1] / means[0])
    sizes = f"{options.trials[-1]} trials over {options.trials[0]}"
    print(f"milliseconds per trial, {sizes}: highest ratio {highest:.2f}, goal {GOAL}")
    return int(highest > GOAL)


if __name__ == "__main__":
    sys.exit(recorded(main))
