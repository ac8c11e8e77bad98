"""A model in training as a probe has it: real optimiser steps, of which nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from trainables.config.training import Training
from trainables.config.trial import ProbeConfig
from trainables.data.shards import Rows, Shard
from trainables.distributed.worker_context import WorkerContext
from trainables.process.isolation import seed_everything
from trainables.tasks.base import Task
from trainables.tasks.load import load_task
from trainables.tasks.task_data import TaskData, open_data
from trainables.training.budget_clock import MAX_BLOCK_STEPS
from trainables.training.data_parallel import task_objective
from trainables.training.gradient_noise import GradientNoise
from trainables.training.loop import NORM_EVERY
from trainables.training.micro_batches import micro_batches_of_steps
from trainables.training.model_building import complete
from trainables.training.optimizer import build_optimizer
from trainables.training.step import OptimizerStep

RATE = 1e-6  # the weights must stay sane, that is all


@dataclass
class Subject:
    """A model in training, with all that its steps need."""

    task: Task
    data: TaskData
    model: nn.Module
    update: OptimizerStep
    worker: WorkerContext

    @classmethod
    def build(cls, config: ProbeConfig, worker: WorkerContext, training: Training) -> Subject:
        task = load_task(config.task.name, config.task.options, ())
        data = open_data(task, worker.cache, planned=config.task.data)
        seed_everything(config.seed, 0, 0)
        model = task.build_model().to(worker.device).train()
        complete(model, task, data.train, worker.device, training.precision)
        optimizer = build_optimizer(training.optimizer, model.parameters(), RATE)
        skips = task.skips_parameters
        update = OptimizerStep(model, optimizer, task_objective(task), training, worker, skips_parameters=skips)
        return cls(task, data, model, update, worker)

    def take_steps(self, shard: Shard, rows: int, micro_batch_size: int, steps: int) -> None:
        """`rows` a step, of this worker, each as a training with this batch takes it. Does not wait for the device."""
        self.update.expect(rows)
        feed = micro_batches_of_steps(self.data.train, shard, 0, rows, steps, micro_batch_size, self.worker.device)
        for number, micro_batches in enumerate(feed):
            self.update(micro_batches, RATE, with_norm=number % NORM_EVERY == 0)

    def begin_block(self, order: Shard | OneRow, rows: int, micro_batch_size: int, noise: GradientNoise) -> None:
        """The first step of as many as a training takes at a time: rows of the others are there already."""
        feed = micro_batches_of_steps(
            self.data.train, order, 0, rows, MAX_BLOCK_STEPS, micro_batch_size, self.worker.device
        )
        self.update(next(iter(feed)), RATE, noise=noise)


class OneRow:
    """One training row for ever."""

    def __init__(self, row: int) -> None:
        self.row = row

    def rows(self, start: int, count: int) -> Rows:
        return np.full(count, self.row, dtype=np.int64)
