"""How fast the training loop is, against a bare loop written by hand: same model, data, batch and optimiser.

    python benchmarks/loop.py [--pairs 15] [--seconds 0.7]

The bare loop has its data in memory as tensors, takes rows by a shuffled index and does nothing else: no evaluation,
no look at the loss, no gradient norm, no checkpoint. Both run in turn, each first in every other pair, with one thread;
the figure is the median over the pairs of the ratio of steps per second. Time is that of the processor, so that other
programs on the machine disturb less. Ends with 1 if a ratio is below the goal.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.config import Budget, Sgd, Training
from trainables.data import Table, TaskData, open_data
from trainables.data.builtin import DIABETES_MEAN, DIABETES_STD
from trainables.loop import train
from trainables.place import Place
from trainables.storage import Storage
from trainables.tasks import Task, load_task

GOAL = 0.95
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


def bare(name: str, task: Task, data: TaskData, batch_size: int, steps: int) -> None:
    """What one would write by hand."""
    target_name, mean_loss = MEAN_LOSSES[name]
    features = data.train.column(task.inputs[0]).clone()
    target = data.train.column(target_name).clone()
    model = task.build_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, fused=True)
    order, position = torch.randperm(len(features)), 0
    for _ in range(steps):
        if position + batch_size > len(order):
            order, position = torch.randperm(len(features)), 0
        rows = order[position : position + batch_size]
        position += batch_size
        optimizer.zero_grad(set_to_none=True)
        loss = mean_loss(model(features[rows]), target[rows])
        loss.backward()
        optimizer.step()


def ours(task: Task, data: TaskData, batch_size: int, steps: int, place: Place) -> None:
    """The same through the loop of a trial, with one evaluation of one row."""
    training = Training(
        batch_size=batch_size,
        micro_batch_size=batch_size,
        learning_rate=RATE,
        optimizer=Sgd(momentum=0.9),
        budget=Budget(unit="steps", amount=steps),
        evaluations=1,
    )
    list(train(task.build_model(), task, data, training, place))


def cpu_seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(name: str, batch_size: int, pairs: int, seconds: float, folder: Path) -> float:
    """Print one line; return the median ratio of steps per second, ours to bare."""
    place = Place(Storage(str(folder / "storage")), folder / "cache")
    task = load_task(name)
    tables = open_data(task, place.cache)
    row = Table({key: tables.validation.column(key)[:1].clone() for key in tables.validation.columns})
    data = TaskData(tables.train, row, lambda: row)
    bare(name, task, data, batch_size, 3)  # whatever is done once
    ours(task, data, batch_size, 3, place)
    steps = max(3, int(seconds / (cpu_seconds(lambda: bare(name, task, data, batch_size, 10)) / 10)))
    works = {
        "bare": lambda: bare(name, task, data, batch_size, steps),
        "ours": lambda: ours(task, data, batch_size, steps, place),
    }
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for pair in range(pairs):
        for kind in sorted(works, reverse=bool(pair % 2)):
            times[kind].append(cpu_seconds(works[kind]))
    ratios = [b / o for b, o in zip(times["bare"], times["ours"], strict=True)]
    ratio = statistics.median(ratios)
    speeds = {kind: steps / statistics.median(values) for kind, values in times.items()}
    quartiles = statistics.quantiles(ratios, n=4)
    print(
        f"{name:14} {batch_size:6} {steps:6} {speeds['bare']:10.1f} {speeds['ours']:10.1f} {ratio:8.3f}"
        f"   {quartiles[0]:.3f} to {quartiles[2]:.3f}",
        flush=True,
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15, help="repetitions of both loops")
    parser.add_argument("--seconds", type=float, default=0.7, help="length of one run")
    parser.add_argument("--task", choices=sorted(MEAN_LOSSES), help="only this one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'task':14} {'batch':>6} {'steps':>6} {'bare/s':>10} {'ours/s':>10} {'ratio':>8}   middle half of the ratios"
    )
    names = [arguments.task] if arguments.task else list(MEAN_LOSSES)
    with tempfile.TemporaryDirectory() as folder:
        ratios = [
            compare(name, batch_size, arguments.pairs, arguments.seconds, Path(folder))
            for name in names
            for batch_size in BATCH_SIZES
        ]
    print(f"lowest ratio {min(ratios):.3f}, goal {GOAL}")
    return 0 if min(ratios) >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
