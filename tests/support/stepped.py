"""Optimiser steps on one worker, with the weights that come of them."""

from __future__ import annotations

import torch

from tests.support.training_samples import bits, build, table, training
from trainables.config.optimizers import Sgd
from trainables.training.data_parallel import task_objective
from trainables.training.optimizer import build_optimizer
from trainables.training.step import OptimizerStep

RATE = 0.1


def step_on(task, chunks, folder, **changes):
    """Take one step of plain SGD over micro-batches of the given rows; return (gradients, losses, items, norm)."""
    rows = table(sum(chunks), dtype=torch.float64)
    batch = {name: rows.column(name) for name in rows.columns}
    parts = zip(*(torch.split(column, chunks) for column in batch.values()), strict=True)
    micro_batches = [dict(zip(batch, part, strict=True)) for part in parts]

    model = build(task, dtype=torch.float64)
    before = bits(model)
    settings = training(sum(chunks), optimizer=Sgd(momentum=0.0), **changes)
    optimizer = build_optimizer(settings.optimizer, model, RATE)
    update = OptimizerStep(model, optimizer, task_objective(task), settings, folder)
    losses, items, norm = update(micro_batches, RATE)
    moved = {name: (before[name] - value) / RATE for name, value in model.named_parameters()}
    return moved, losses, items, norm
