"""A training run to its end, with all its readings."""

from __future__ import annotations

import torch

from tests.support.training_samples import Regression, build, tables, training, worker
from trainables.training.loop import train


def run(folder, task=None, data=None, dtype=torch.float32, **changes):
    """Train from seed 0; return (model, history)."""
    task = task or Regression()
    model = build(task, dtype=dtype)
    reports = list(train(model, task, data or tables(dtype=dtype), training(**changes), worker(folder)))
    return model, reports
