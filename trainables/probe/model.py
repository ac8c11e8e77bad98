"""The training run behind a probe: it takes real steps, and its model is discarded."""

from __future__ import annotations

import numpy as np

from trainables.config.training import Budget, NoiseScale, Training
from trainables.config.trial import ProbeConfig
from trainables.data.shards import Rows
from trainables.distributed.worker_context import WorkerContext
from trainables.process.isolation import seed_everything
from trainables.tasks.load import load_task
from trainables.tasks.task_data import open_data
from trainables.training.budget_clock import MAX_BLOCK_STEPS, StepBlock
from trainables.training.gradient_noise import GradientNoise
from trainables.training.run import TrainingRun

RATE = 1e-6  # small, so that the weights stay finite


def probe_training(
    config: ProbeConfig, micro_batch_size: int, accumulation_steps: int = 1, noise_scale: NoiseScale | None = None
) -> Training:
    """The training of a probe's task with this division of a step."""
    return Training(
        batch_size=micro_batch_size * accumulation_steps * config.num_workers,
        micro_batch_size=micro_batch_size,
        accumulation_steps=accumulation_steps,
        num_workers=config.num_workers,
        learning_rate=RATE,
        optimizer=config.optimizer,
        precision=config.precision,
        budget=Budget(unit="steps", amount=MAX_BLOCK_STEPS),
        noise_scale=noise_scale,
        seed=config.seed,
    )


def build_run(config: ProbeConfig, training: Training, worker: WorkerContext) -> TrainingRun:
    """A run of `training`, as a trial of the probe's task would build it."""
    task = load_task(config.task.name, config.task.options, ())
    data = open_data(task, worker.cache, planned=config.task.data)
    seed_everything(config.seed, 0, 0)
    noise = GradientNoise(training, data.train.n_rows, worker)
    return TrainingRun.build(task.build_model(), task, data, training, worker, noise=noise)


def begin_block(run: TrainingRun) -> None:
    """Begin a block of steps as in training, so that the rows of all its steps are loaded."""
    next(run.steps(StepBlock(MAX_BLOCK_STEPS, 0.0, 0.0)))


def take_steps(run: TrainingRun, training: Training, steps: int) -> None:
    """Steps with the batch of `training`, as a run built for it takes them. Does not wait for the device."""
    run.go_on_with(training)
    for _ in run.steps(StepBlock(steps, 0.0, 0.0)):
        pass


class OneRow:
    """A data set that repeats one training row."""

    def __init__(self, row: int) -> None:
        self.row = row

    def rows(self, start: int, count: int) -> Rows:
        return np.full(count, self.row, dtype=np.int64)
