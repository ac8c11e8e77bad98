"""How fast the training loop is, against a bare loop written by hand: same model, data, batch and optimiser.

    python benchmarks/loop.py [--seconds 60] [--task stdlib_gpt] [--device cuda]

The bare loop has its data as tensors in the memory of the device, takes rows by a shuffled index and does nothing else:
no evaluation, no look at the loss, no gradient norm, no checkpoint, and on a GPU no copy. Ours takes a reading after
each turn, of one row. Both run in turns of half a second (on a GPU, a second) in one thread (see side_by_side.py). What
measuring the noise scale adds is noise_scale.py's question. Ends with 1 if a ratio is below the goal.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from record import recorded
from side_by_side import MIN_TURNS, add_device_option, clock_of, side_by_side, timed, turns_within, warmed_up
from torch import Tensor
from torch.nn import functional as F

from trainables.config.optimizers import Sgd
from trainables.config.training import Budget, Training
from trainables.data.builtin import DIABETES_MEAN, DIABETES_STD
from trainables.data.table import Table
from trainables.distributed.worker_context import WorkerContext
from trainables.results import Report
from trainables.storage import Storage
from trainables.tasks.base import Task
from trainables.tasks.load import load_task
from trainables.tasks.task_data import TaskData, open_data
from trainables.training.loop import train

GOAL = 0.95
TURN_SECONDS = {"cpu": 0.5, "cuda": 1.0}  # a reading, some milliseconds, is then hardly felt
BATCH_SIZES = (8, 256)
RATE = 0.001
MEAN_LOSSES: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "digits_cnn": ("label", F.cross_entropy),
    "diabetes_mlp": ("target", lambda outputs, target: F.mse_loss(outputs, (target - DIABETES_MEAN) / DIABETES_STD)),
    "stdlib_gpt": (
        "next_bytes",
        lambda outputs, target: F.cross_entropy(outputs.flatten(0, 1), target.flatten().long()),
    ),
}


def bare(name: str, task: Task, data: TaskData, batch_size: int, steps: int, device: torch.device) -> Iterator[None]:
    """What one would write by hand; yields after so many steps."""
    target_name, mean_loss = MEAN_LOSSES[name]
    features = data.train.column(task.inputs[0]).to(device, copy=True)
    target = data.train.column(target_name).to(device, copy=True)
    model = task.build_model().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, fused=True)
    order, position = torch.randperm(len(features), device=device), 0
    while True:
        for _ in range(steps):
            if position + batch_size > len(order):
                order, position = torch.randperm(len(features), device=device), 0
            rows = order[position : position + batch_size]
            position += batch_size
            optimizer.zero_grad(set_to_none=True)
            loss = mean_loss(model(features[rows]), target[rows])
            loss.backward()
            optimizer.step()
        yield


def ours(
    task: Task, data: TaskData, batch_size: int, steps: int, turns: int, worker: WorkerContext
) -> Iterator[Report]:
    """The same through the loop of a trial, with a reading of one row after so many steps."""
    training = Training(
        batch_size=batch_size,
        micro_batch_size=batch_size,
        learning_rate=RATE,
        optimizer=Sgd(momentum=0.9),
        budget=Budget(unit="steps", amount=steps * turns),
        evaluations=turns,
    )
    return train(task.build_model(), task, data, training, worker)


def compare(name: str, batch_size: int, seconds: float, folder: Path, device: torch.device) -> float:
    """Print one line; return the median ratio of steps per second, ours to bare."""
    worker = WorkerContext(Storage(str(folder / "storage")), folder / "cache", device=device)
    clock = clock_of(device)
    task = load_task(name)
    tables = open_data(task, worker.cache)
    row = Table({key: tables.validation.column(key)[:1].clone() for key in tables.validation.columns})
    data = TaskData(tables.train, row, lambda: row)
    trial = bare(name, task, data, batch_size, 8, device)
    timed(trial, clock)  # the first turn warms up
    turn_seconds = min(TURN_SECONDS[device.type], seconds / 2 / MIN_TURNS)
    steps = max(1, round(turn_seconds / (timed(trial, clock) / 8)))
    turns = turns_within(seconds, turn_seconds)
    mine = warmed_up(ours(task, data, batch_size, steps, turns + 1, worker), steps)
    by_hand = bare(name, task, data, batch_size, steps, device)
    timed(by_hand, clock)
    found = side_by_side(mine, by_hand, turns, clock)
    print(
        f"{name:14} {batch_size:6} {steps:6} {steps / found.second:10.1f} {steps / found.first:10.1f} "
        f"{found.ratio:8.3f}   {found.low:.3f} to {found.high:.3f}",
        flush=True,
    )
    return found.ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for one line of the table, about")
    parser.add_argument("--task", choices=sorted(MEAN_LOSSES), help="only this one")
    add_device_option(parser)
    arguments = parser.parse_args()
    device = torch.device(arguments.device, 0) if arguments.device == "cuda" else torch.device("cpu")
    torch.set_num_threads(1)
    print(f"{'task':14} {'batch':>6} {'steps':>6} {'bare/s':>10} {'ours/s':>10} {'ratio':>8}   95 % interval")
    names = [arguments.task] if arguments.task else list(MEAN_LOSSES)
    with tempfile.TemporaryDirectory() as folder:
        ratios = [
            compare(name, batch_size, arguments.seconds, Path(folder), device)
            for name in names
            for batch_size in BATCH_SIZES
        ]
    print(f"lowest ratio {min(ratios):.3f}, goal {GOAL}")
    return 0 if min(ratios) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(recorded(main))
