"""What a worker's trials cost after many: CPU per trial, and memory, of one process that runs one after another.

    python benchmarks/worker_growth.py [--trials 350] [--no-freeze]

Each trial is a small training whose model is exported, as every trial's is; of that, torch keeps objects for good, and
a full garbage collection looks through all that are not frozen. `--no-freeze` leaves freezing out, to compare.
Ends with 1 unless the trials after the first 50 cost as much at the end as at the beginning, within a quarter.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from record import recorded

from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.distributed.worker_context import WorkerContext
from trainables.measure.artifact import export_model
from trainables.process.memory import resident_bytes
from trainables.results import Status, TrialResult
from trainables.storage import Storage
from trainables.worker.messages import Finished, Start
from trainables.worker.runner import Runner

SETTLED = 50  # trials until caches are full
CONFIG = BaselineConfig(
    task=TaskConfig(name="digits_cnn", data="", code=""),
    training=Training(
        batch_size=8, micro_batch_size=8, accumulation_steps=1, learning_rate=0.1, budget=Budget(unit="steps", amount=1)
    ),
)


def trial(name: str, config: Any, worker: WorkerContext) -> Iterator[Any]:
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 16)).square().mean().backward()
        optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        export_model(model, (torch.randn(2, 16),), Path(folder) / "model.pt2")
    yield TrialResult(id=name, config=config, status=Status.COMPLETED)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=350)
    parser.add_argument("--no-freeze", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(trial, WorkerContext(Storage(folder), Path(folder)))
        if arguments.no_freeze:
            gc.freeze = lambda: None
        costs, worn = [], 0
        for number in range(arguments.trials):
            started = time.process_time()
            answer = runner.obey(Start(trial=f"{number:012x}", config=CONFIG))
            assert isinstance(answer, Finished), answer
            costs.append(1000 * (time.process_time() - started))
            worn += answer.worn
            if (number + 1) % SETTLED == 0:
                cost, resident = statistics.median(costs[-SETTLED:]), resident_bytes() / 2**20
                print(
                    f"to trial {number + 1:4}: {cost:6.1f} ms of CPU per trial, {resident:7.1f} MiB resident, "
                    f"{len(gc.get_objects()):8,} objects to look through",
                    flush=True,
                )
    first, last = statistics.median(costs[SETTLED : 2 * SETTLED]), statistics.median(costs[-SETTLED:])
    print(f"{last / first:.2f} times the CPU at the end; {worn} times the worker asked to be renewed")
    return 0 if last < 1.25 * first else 1


if __name__ == "__main__":
    sys.exit(recorded(main))
