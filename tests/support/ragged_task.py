"""A task on lists of unequal length, with the data of one: a label for every token, and a loss of every true one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paretune import Ragged, Task
from trainables.data.ragged import RaggedValues
from trainables.data.table import Table
from trainables.tasks.task_data import TaskData

VOCABULARY = 20


class Tagger(nn.Module):
    """Each token beside the mean of its row's: what stands in the padding must not matter."""

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(VOCABULARY, width, dtype=dtype), nn.Linear(2 * width, 2, dtype=dtype)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        each = self.embed(tokens)
        weights = mask.to(each.dtype).unsqueeze(2)
        mean = (each * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp(min=1)
        return self.out(torch.cat([each, mean.expand_as(each)], 2))


class Tags(Task):
    train, validation, test = "train.parquet", "validation.parquet", "test.parquet"
    inputs = ("tokens", "tokens_mask")
    columns = {"tokens": Ragged(), "tags": Ragged(pad=1)}  # noqa: RUF012
    metrics = {"accuracy": "max"}  # noqa: RUF012

    def __init__(self, double: bool = False) -> None:
        self.dtype = torch.float64 if double else torch.float32

    def build_model(self, width: float = 1.0) -> nn.Module:
        return Tagger(round(8 * width), self.dtype)

    def losses(self, outputs: Tensor, batch: Any) -> Tensor:
        losses = F.cross_entropy(outputs.flatten(0, 1), batch["tags"].flatten(), reduction="none")
        return losses[batch["tokens_mask"].flatten()]

    def scores(self, outputs: Tensor, batch: Any) -> dict[str, Tensor]:
        right = outputs.argmax(2) == batch["tags"]
        return {"accuracy": right[batch["tokens_mask"]].float()}


def tags(seed: int, rows: int) -> dict[str, list[np.ndarray]]:
    """Lists of log-normal length; a tag says whether its token is an even number."""
    random = np.random.default_rng(seed)
    lengths = np.exp(random.normal(1.5, 0.8, rows)).astype(int) + 1
    tokens = [random.integers(0, VOCABULARY, length) for length in lengths]
    return {"tokens": tokens, "tags": [one % 2 for one in tokens]}


def write_tags(folder: Path, rows: int = 64) -> None:
    """The three files, with a column of text beside."""
    for seed, split in enumerate(("train", "validation", "test")):
        pq.write_table(pa.table({**tags(seed, rows), "text": ["beside"] * rows}), folder / f"{split}.parquet")


def tags_tables(rows: int) -> TaskData:
    """The same data without files."""

    def table(seed: int) -> Table:
        lists = [tags(seed, rows)[name] for name in ("tokens", "tags")]
        offsets = np.cumsum([0, *map(len, lists[0])])
        values = {name: np.concatenate(one) for name, one in zip(("tokens", "tags"), lists, strict=True)}
        return Table({}, ragged={name: RaggedValues(one, offsets, 0) for name, one in values.items()})

    return TaskData(table(0), table(1), lambda: table(2))


def tags_in(folder: Path, *, double: bool = False) -> Tags:
    """The task, with its data in this folder."""
    write_tags(folder)
    task = Tags(double)
    for split in ("train", "validation", "test"):
        setattr(task, split, str(folder / f"{split}.parquet"))
    return task
