"""A task of a user's own, with its three tables, as a person writes it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

WINE = """
import helper                                   # beside it
from torch import nn
from trainables.tasks import Task

raise SystemExit("a plan must not import this")


class Base(Task):
    metrics = {"accuracy": "max"}

    def build_model(self, width=1.0):
        return nn.Linear(1, 1)

    def losses(self, outputs, batch):
        return (outputs.squeeze(1) - batch["label"]).square()

    def scores(self, outputs, batch):
        return {name: (outputs.squeeze(1).round() == batch["label"]).float() for name in self.metrics}


class Wine(Base):
    train, validation, test = "data/train.parquet", "data/validation.parquet", "data/test"

    def __init__(self, size: int = 3, *, flavour: str = "red"):
        self.size = size
"""


def table(rows: int) -> pa.Table:
    return pa.table({"features": [[float(row)] for row in range(rows)], "label": list(range(rows))})


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
