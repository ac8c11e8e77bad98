"""What measuring the gradient noise scale costs a training run: seconds per step with and without, side by side.

    python benchmarks/noise_scale.py [--pairs 15] [--seconds 1.5]

Both run the loop of a trial with its default settings, in turn, each first in every other pair, with one thread; they
end with the same bits, which is checked. `pieces`: micro-batches in a step. One piece is the dear case: parts of the
batch are computed once more, at every 128th step. Of several pieces only the norms are taken, at every 32nd. Time is
that of the processor, so that other programs on the machine disturb less; figures are medians over the pairs, with the
middle half of the ratios. Ends with 1 if a median ratio is above the goal.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from trainables.config import Budget, NoiseScale, Sgd, Training
from trainables.data import Table, TaskData, open_data
from trainables.gradient_noise import GradientNoise
from trainables.loop import train
from trainables.place import Place
from trainables.storage import Storage
from trainables.tasks import Task, load_task

GOAL = 1.03
TASKS = ("digits_cnn", "diabetes_mlp", "stdlib_gpt")
CASES = ((8, 1), (64, 1), (64, 4))  # batch size, pieces
CYCLE = 128  # steps, a multiple of both distances between measured steps


def run(
    task: Task, data: TaskData, batch_size: int, pieces: int, steps: int, place: Place, *, measures: bool
) -> tuple[float, Tensor]:
    """(seconds of processor time, the weights at the end). One evaluation of one row."""
    training = Training(
        batch_size=batch_size,
        micro_batch_size=batch_size // pieces,
        accumulation_steps=pieces,
        learning_rate=0.001,
        optimizer=Sgd(momentum=0.9),
        budget=Budget(unit="steps", amount=steps),
        evaluations=1,
        noise_scale=NoiseScale() if measures else None,
    )
    torch.manual_seed(0)
    model = task.build_model()
    noise = GradientNoise(training, data.train.n_rows, place)
    started = time.process_time()
    list(train(model, task, data, training, place, noise=noise))
    seconds = time.process_time() - started
    return seconds, torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def compare(name: str, batch_size: int, pieces: int, pairs: int, seconds: float, folder: Path) -> float:
    """Print one line; return the median ratio of seconds per step, with to without."""
    place = Place(Storage(str(folder / "storage")), folder / "cache")
    task = load_task(name)
    tables = open_data(task, place.cache)
    row = Table({key: tables.validation.column(key)[:1].clone() for key in tables.validation.columns})
    data = TaskData(tables.train, row, lambda: row)
    spent, _ = run(task, data, batch_size, pieces, 2, place, measures=False)
    spent, _ = run(task, data, batch_size, pieces, 8, place, measures=False)
    steps = CYCLE * max(1, round(seconds / (spent / 8) / CYCLE))
    times: dict[bool, list[float]] = {True: [], False: []}
    for pair in range(pairs):
        ends = {}
        for measures in sorted(times, reverse=bool(pair % 2)):
            spent, ends[measures] = run(task, data, batch_size, pieces, steps, place, measures=measures)
            times[measures].append(spent / steps)
        assert torch.equal(ends[True], ends[False]), "measuring has changed the training"
    ratios = [w / o for w, o in zip(times[True], times[False], strict=True)]
    ratio = statistics.median(ratios)
    low, _, high = statistics.quantiles(ratios, n=4)
    milliseconds = {measures: 1000 * statistics.median(values) for measures, values in times.items()}
    print(
        f"{name:14} {batch_size:6} {pieces:7} {steps:6} {milliseconds[False]:12.3f} {milliseconds[True]:12.3f}"
        f" {ratio:8.4f}   {low:.4f} to {high:.4f}",
        flush=True,
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15, help="repetitions of both, at least 2")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one run")
    parser.add_argument("--task", choices=TASKS, help="only this one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'task':14} {'batch':>6} {'pieces':>7} {'steps':>6} {'ms without':>12} {'ms with':>12} {'ratio':>8}"
        "   middle half of the ratios"
    )
    with tempfile.TemporaryDirectory() as folder:
        ratios = [
            compare(name, batch_size, pieces, arguments.pairs, arguments.seconds, Path(folder))
            for name in ([arguments.task] if arguments.task else TASKS)
            for batch_size, pieces in CASES
        ]
    print(f"highest ratio {max(ratios):.4f}, goal {GOAL}")
    return 0 if max(ratios) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
