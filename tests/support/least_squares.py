"""Least squares, whose gradient noise scale is known, and a training that measures it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tests.support.training_samples import training, worker
from trainables.config.optimizers import Adam
from trainables.config.training import NoiseScale
from trainables.data.table import Table
from trainables.tasks.base import Task
from trainables.tasks.task_data import TaskData
from trainables.training.gradient_noise import GradientNoise
from trainables.training.loop import train
from trainables.training.noise_scale import NoiseScaleMeter

STILL = 1e-30  # a learning rate that moves no weight, so that the answer stays what it is


ALWAYS = NoiseScale(every_steps=1, divided_every_steps=1)


class LeastSquares(Task):
    """Half the squared error, from weights w = delta: the targets are noise alone."""

    def __init__(self, delta):
        self.delta = torch.as_tensor(delta)

    def build_model(self, width=1.0):
        model = nn.Linear(len(self.delta), 1, bias=False, dtype=torch.float64)
        model.weight.data = self.delta[None].clone()
        return model

    def losses(self, outputs, batch):
        return (outputs.squeeze(1) - batch["target"]).square() / 2


def least_squares_data(h, sigma2, rows, seed=0):
    """x ~ N(0, diag(h)), y = noise of variance sigma2."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, len(h))) * np.sqrt(h)
    y = np.sqrt(sigma2) * generator.normal(size=rows)
    columns = Table({"features": torch.from_numpy(x), "target": torch.from_numpy(y)})
    few = Table({"features": torch.from_numpy(x[:2]), "target": torch.from_numpy(y[:2])})
    return TaskData(columns, few, lambda: few)


def measured(folder, task, data, *, batch_size, steps, parts, fading=False, **changes):
    """Train without moving; return what is known then. `parts` 1: the batch is one micro-batch."""
    settings = training(
        batch_size, steps, micro_batch_limit=batch_size // parts, noise_scale=ALWAYS, evaluations=1,
        **{"learning_rate": STILL} | changes,
    )  # fmt: skip
    noise = GradientNoise(settings, data.train.n_rows, worker(folder))
    if not fading:
        noise.meter = NoiseScaleMeter(dataset_rows=data.train.n_rows)
    list(train(task.build_model(), task, data, settings, worker(folder), noise=noise))
    return noise


ROUTES = {
    "divided": {},
    "accumulated": {"micro_batch_limit": 4},
    "unequal": {"batch_size": 9, "micro_batch_limit": 3, "optimizer": Adam()},
    "clipped bfloat16": {"gradient_clip_norm": 0.1, "precision": "bfloat16"},
}
