"""A compression on models small enough to know the answer."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from tests.support.training_samples import Regression, tables, training, worker
from trainables.compression.fine_tune import Context
from trainables.results import Report


def context(tmp_path: Path, **settings: object) -> Context:
    return Context(Regression(0.0), tables(), training(16, 64, **settings), worker(tmp_path))


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def drained(readings) -> tuple[list[Report], object]:
    reports = []
    while True:
        try:
            reports.append(next(readings))
        except StopIteration as end:
            return reports, end.value


def of(model: nn.Module, data, inputs: tuple[str, ...], tmp_path: Path) -> Context:
    task = Regression()
    task.inputs = inputs  # type: ignore[misc]
    return Context(task, data, training(16, 64), worker(tmp_path))
