"""What a trial costs beyond its training: a script of its own, Ray's documented pattern, the warm gang, side by side.

    python benchmarks/trial_overhead.py [--trials 5] [--workers 1 2]

All run the same small training, one trial after another, on this machine, in one go. Each trial measures its training
itself, from the first step to the last; what its trial took beyond that is printed: the median, and the range.
    bare script          a process for each worker of each trial, started directly; imports included
    documented           a Tune function that builds a TorchTrainer for each trial; Ray's defaults
    documented, polled   the same with Ray Train asking its workers ten times a second instead of every two
    gang                 orchestrator.running.tuner.RayExecutor; the gang's one start is given apart
Ends with 1 unless the gang is at least 30 times cheaper than the documented pattern, however often that is polled.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from record import recorded

if TYPE_CHECKING:
    from trainables.config.trial import BaselineConfig
    from trainables.distributed.worker_context import WorkerContext
    from trainables.results import Report, TrialResult

HERE = Path(__file__).resolve()
STEPS, ROWS, FEATURES = 50, 64, 64
GOAL = 30


def train(seed: int, num_workers: int, wrap: Any = None) -> float:
    """Seconds that the training itself takes; the same for every way to run it."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model: Any = torch.nn.Sequential(torch.nn.Linear(FEATURES, 128), torch.nn.ReLU(), torch.nn.Linear(128, 2))
    if wrap is not None:
        model = wrap(model)
    elif num_workers > 1:
        model = torch.nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    start = time.perf_counter()
    for _ in range(STEPS):
        features = torch.randn(ROWS, FEATURES)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(features), (features.sum(1) > 0).long()).backward()
        optimizer.step()
    return time.perf_counter() - start


# -- a script of its own -----------------------------------------------------------------------------------------------


def run_bare(trials: int, num_workers: int) -> list[float]:
    """Overhead of each trial in seconds: its processes from start to end, less the first worker's training."""
    overheads = []
    for seed in range(trials):
        start = time.perf_counter()
        port = str(_free_port())
        processes = [
            subprocess.Popen(
                [sys.executable, str(HERE), "--bare", str(seed)],
                env={
                    **os.environ,
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": port,
                    "RANK": str(rank),
                    "WORLD_SIZE": str(num_workers),
                },
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(num_workers)
        ]
        outputs = [process.communicate()[0] for process in processes]
        overheads.append(time.perf_counter() - start - float(outputs[0]))
    return overheads


def bare(seed: int) -> None:
    import torch.distributed as dist

    num_workers = int(os.environ["WORLD_SIZE"])
    if num_workers > 1:
        dist.init_process_group("gloo")
    print(train(seed, num_workers))
    if num_workers > 1:
        dist.destroy_process_group()


# -- Ray's documented pattern ------------------------------------------------------------------------------------------


def run_documented(trials: int, num_workers: int, *, polled: bool) -> list[float]:
    """Overhead of each trial in seconds: from one trial's end to the next one's, less its training."""
    import ray
    from ray import tune

    from orchestrator.running.ray_connection import patiently

    environment = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1"} if polled else {}
    # More CPUs than there are: Tune's function takes one as well, and the defaults must have room.
    settings = {"num_cpus": 4, "log_to_driver": False, "runtime_env": {"env_vars": environment}}
    patiently(lambda: ray.init(address="local", **settings))
    ends = _Ends()
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            _documented_trial,
            param_space={"seed": tune.grid_search(list(range(trials))), "num_workers": num_workers, "folder": folder},
            tune_config=tune.TuneConfig(max_concurrent_trials=1),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[_callback(ends)]),
        )
        start = time.perf_counter()
        results = tuner.fit()
    ray.shutdown()
    assert not results.errors, results.errors
    return ends.overheads(start)


def _documented_trial(config: dict[str, Any]) -> None:
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    TorchTrainer(
        _documented_worker,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=config["num_workers"]),
        run_config=ray.train.RunConfig(
            name=f"trial-{config['seed']}", storage_path=config["folder"], callbacks=[TuneReportCallback()]
        ),
    ).fit()


def _documented_worker(config: dict[str, Any]) -> None:
    import ray.train
    import ray.train.torch

    seconds = train(config["seed"], config["num_workers"], ray.train.torch.prepare_model)
    ray.train.report({"train_seconds": seconds})


class _Ends:
    """When each trial ended, and how long it trained."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.train_seconds: list[float] = []

    def overheads(self, start: float) -> list[float]:
        spans = [end - begin for begin, end in zip([start, *self.times], self.times, strict=False)]
        return [span - seconds for span, seconds in zip(spans, self.train_seconds, strict=True)]


def _callback(ends: _Ends) -> Any:
    from ray import tune

    class Callback(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            ends.times.append(time.perf_counter())
            ends.train_seconds.append(trial.last_result["train_seconds"])

        def __getstate__(self) -> dict[str, Any]:
            return {}

    return Callback()


# -- the gang ----------------------------------------------------------------------------------------------------------


def run_gang(trials: int, num_workers: int) -> tuple[float, list[float]]:
    """(seconds up to the end of the first trial, overhead of each later one in seconds)."""
    from overhead_plan import plan_of

    from orchestrator.running.executor import run_sweep
    from orchestrator.running.ray_connection import RaySettings
    from orchestrator.running.tuner import RayExecutor
    from trainables.storage import Storage

    class Watch(_Ends):
        def started(self, trial: Any) -> None:
            pass

        def report(self, trial_id: str, report: Report) -> None:
            pass

        def waits(self, trial_id: str, reason: str) -> None:
            pass

        def planned(self, outlook: Any) -> None:
            pass

        def ended(self, result: TrialResult) -> None:
            self.times.append(time.perf_counter())
            self.train_seconds.append(result.metrics["train_seconds"].value)

    watch = Watch()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run_sweep(
            plan_of(trials + 1, num_workers, rows=ROWS, steps=STEPS),
            Storage(folder),
            watch,
            RayExecutor(RaySettings(num_cpus=num_workers), "trial_overhead:run_trial"),  # room for one gang
        )
    first, *later = watch.overheads(start)
    return first, later


def run_trial(trial: str, config: BaselineConfig, worker: WorkerContext) -> Iterator[Report | TrialResult]:
    """What the gang's workers run instead of a real trial."""
    from trainables.estimate import Estimate
    from trainables.results import Report, Status, TrialResult

    seconds = train(config.training.seed, worker.world_size)
    yield Report(step=STEPS, examples=STEPS * ROWS, seconds=seconds, metrics={})
    metrics = {"train_seconds": Estimate.exact(seconds)}
    yield TrialResult(id=trial, config=config, status=Status.COMPLETED, metrics=metrics)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# -- side by side ------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=5, help="trials of each kind (default: 5)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="workers of a trial (default: 1 2)")
    parser.add_argument("--only", nargs="+", choices=["bare", "documented", "gang"], default=None)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare is not None:
        bare(arguments.bare)
        return 0
    kinds = arguments.only or ["bare", "documented", "gang"]
    cheaper = [compare(arguments.trials, num_workers, kinds) for num_workers in arguments.workers]
    if not {"documented", "gang"} <= set(kinds):
        return 0
    print(f"the gang is at least {min(cheaper):.0f} times cheaper than the documented pattern, goal {GOAL}")
    return 0 if min(cheaper) >= GOAL else 1


def compare(trials: int, num_workers: int, kinds: list[str]) -> float:
    """Print one table; return how many times cheaper the gang is than the cheaper of the documented ways."""
    rows: dict[str, list[float]] = {}
    if "bare" in kinds:
        rows["bare script"] = run_bare(trials, num_workers)
    if "documented" in kinds:
        rows["documented"] = run_documented(trials, num_workers, polled=False)
        rows["documented, polled"] = run_documented(trials, num_workers, polled=True)
    if "gang" in kinds:
        first, rows["gang"] = run_gang(trials, num_workers)
    gang = statistics.median(rows.get("gang", [float("nan")]))
    print(f"\n{num_workers} worker{'s' * (num_workers > 1)}: seconds per trial beyond training, {trials} trials each")
    print(f"{'':20}{'median':>10}{'range':>18}{'x gang':>10}")
    for name, overheads in rows.items():
        median = statistics.median(overheads)
        spread = f"{min(overheads):.2f}-{max(overheads):.2f}"
        print(f"{name:20}{median:10.3f}{spread:>18}{median / gang:10.0f}")
    if "gang" in kinds:
        print(f"{'gang, its one start':20}{first:10.1f}")
    load = os.getloadavg()[0]
    print(json.dumps({"num_workers": num_workers, "load": round(load, 1), "cpus": os.cpu_count(), "seconds": rows}))
    documented = [statistics.median(seconds) for name, seconds in rows.items() if name.startswith("documented")]
    return min(documented, default=float("nan")) / gang


if __name__ == "__main__":
    sys.exit(recorded(main))
