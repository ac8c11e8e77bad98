"""What measuring the gradient noise scale costs a training run: seconds per step with and without, side by side.

    python benchmarks/noise_scale.py [--seconds 60] [--task diabetes_mlp] [--device cuda] [--every 4]

Two runs of a trial's loop, with its default settings and without measuring, take turns in one thread (see
side_by_side.py). On a CPU they end with the same bits, which is checked. A turn is as many steps as lie between two
measured ones (`every`). `pieces`: micro-batches in a step. One piece is the dear case: parts of the batch are computed
once more, at every 256th step. Of several pieces only the norms are taken, at every 32nd. Where steps are so long that
12 turns of 256 do not fit into --seconds, one piece is measured at every 32nd step as well, and an eighth of its cost
is printed: what a measured step adds is then all that is seen. Ends with 1 if a ratio is above the goal.
With --every, one piece is measured that often, and nothing is judged: 4 is what a short run that grows with its noise
does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from record import recorded
from side_by_side import MIN_TURNS, add_device_option, clock_of, side_by_side, timed, turns_within, warmed_up
from torch import nn

from trainables.config.optimizers import Sgd
from trainables.config.training import Budget, NoiseScale, Training
from trainables.data.table import Table
from trainables.distributed.worker_context import WorkerContext
from trainables.results import Report
from trainables.storage import Storage
from trainables.tasks.base import Task
from trainables.tasks.load import load_task
from trainables.tasks.task_data import TaskData, open_data
from trainables.training.gradient_noise import GradientNoise
from trainables.training.loop import train

GOAL = 1.03
TASKS = ("digits_cnn", "diabetes_mlp", "stdlib_gpt")
CASES = ((8, 1), (64, 1), (64, 4))  # batch size, pieces
DEFAULT = NoiseScale()


def begin(
    task: Task,
    data: TaskData,
    batch_size: int,
    pieces: int,
    every: int,
    turns: int,
    worker: WorkerContext,
    *,
    measures: bool,
) -> tuple[nn.Module, Iterator[Report]]:
    """A model, and its training as one reading (of one row) after each turn of `every` steps."""
    training = Training(
        batch_size=batch_size,
        micro_batch_size=batch_size // pieces,
        accumulation_steps=pieces,
        learning_rate=0.001,
        optimizer=Sgd(momentum=0.9),
        budget=Budget(unit="steps", amount=every * turns),
        evaluations=turns,
        noise_scale=NoiseScale(every_steps=every, divided_every_steps=every) if measures else None,
    )
    torch.manual_seed(0)
    model = task.build_model()
    noise = GradientNoise(training, data.train.n_rows, worker)
    return model, train(model, task, data, training, worker, noise=noise)


def compare(
    name: str, batch_size: int, pieces: int, seconds: float, folder: Path, device: torch.device, often: int | None
) -> float:
    """Print one line; return the median ratio of seconds per step, with to without."""
    worker = WorkerContext(Storage(str(folder / "storage")), folder / "cache", device=device)
    clock = clock_of(device)
    task = load_task(name)
    tables = open_data(task, worker.cache)
    row = Table({key: tables.validation.column(key)[:1].clone() for key in tables.validation.columns})
    data = TaskData(tables.train, row, lambda: row)
    _, trial = begin(task, data, batch_size, pieces, DEFAULT.every_steps, 2, worker, measures=False)
    step_seconds = timed(warmed_up(trial, DEFAULT.every_steps), clock) / DEFAULT.every_steps
    every = default = DEFAULT.divided_every_steps if pieces == 1 else DEFAULT.every_steps
    if often is not None:
        every = default = often
    elif 2 * MIN_TURNS * every * step_seconds > seconds:
        every = DEFAULT.every_steps
    turns = turns_within(seconds, every * step_seconds)
    (model, without), (measured_model, measured) = (
        begin(task, data, batch_size, pieces, every, turns + 1, worker, measures=measures) for measures in (False, True)
    )
    found = side_by_side(warmed_up(without, every), warmed_up(measured, every), turns, clock)
    for parameter, same in zip(model.parameters(), measured_model.parameters(), strict=True):
        assert device.type != "cpu" or torch.equal(parameter, same), "measuring has changed the training"
    ratio, low, high = (1 + (one - 1) * every / default for one in (found.ratio, found.low, found.high))
    print(
        f"{name:14} {batch_size:6} {pieces:7} {every:6} {turns:6} {1000 * found.first / every:12.3f} "
        f"{1000 * found.second / every:12.3f} {ratio:8.4f}   {low:.4f} to {high:.4f}",
        flush=True,
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for one line of the table, about")
    parser.add_argument("--task", choices=TASKS, help="only this one")
    add_device_option(parser)
    parser.add_argument("--every", type=int, help="steps between two measurements of a batch in one piece")
    arguments = parser.parse_args()
    device = torch.device(arguments.device, 0) if arguments.device == "cuda" else torch.device("cpu")
    torch.set_num_threads(1)
    print(
        f"{'task':14} {'batch':>6} {'pieces':>7} {'every':>6} {'turns':>6} {'ms without':>12} {'ms with':>12}"
        f" {'ratio':>8}   95 % interval"
    )
    with tempfile.TemporaryDirectory() as folder:
        ratios = [
            compare(name, batch_size, pieces, arguments.seconds, Path(folder), device, arguments.every)
            for name in ([arguments.task] if arguments.task else TASKS)
            for batch_size, pieces in CASES
            if pieces == 1 or arguments.every is None
        ]
    if arguments.every is not None:
        return 0
    print(f"highest ratio {max(ratios):.4f}, goal {GOAL}")
    return 0 if max(ratios) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(recorded(main))
