"""A task of a user's own, of linear layers on a small table, for the dry run."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa

from orchestrator.diagnostics.problem import SweepError
from orchestrator.sweepfile.load import load_sweep

WINE = """
import torch
from torch import nn
from trainables.tasks import Task


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.Embedding(20, 8, sparse=True)

    def forward(self, features):
        return self.rows(features[:, 0].long())


class Wine(Task):
    train, validation, test = "data/train.parquet", "data/validation.parquet", "data/test.parquet"
    metrics = {"accuracy": "max"}

    def build_model(self, width=1.0):
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))

    def losses(self, outputs, batch):
        return nn.functional.cross_entropy(outputs, batch["label"], reduction="none")

    def scores(self, outputs, batch):
        return {"accuracy": (outputs.argmax(1) == batch["label"]).float()}
"""


def table(start: int, **changes: object) -> pa.Table:
    rows = range(start, start + 40)
    columns = {"features": pa.array([[row / 9, 1.0] for row in rows], pa.list_(pa.float32())), "label": [0, 2] * 20}
    return pa.table({name: column for name, column in (columns | changes).items() if column is not None})


def rehearsed(folder: Path) -> str:
    """The problems that `run` begins with, of `sweep.yaml` with the task of `wine.py`; empty if there are none."""
    try:
        load_sweep(folder / "sweep.yaml", import_task=True)
    except SweepError as error:
        return "\n".join(map(str, error.problems))
    finally:
        sys.modules.pop("wine", None)
    return ""
