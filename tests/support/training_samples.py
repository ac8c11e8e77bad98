"""Small tasks, tables and configurations for the tests of training; importable by processes that they start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.compiled import cache_in
from trainables.config.batching import split_batch
from trainables.config.training import Budget, Training
from trainables.data.table import Table
from trainables.distributed.worker_context import WorkerContext
from trainables.storage import Storage
from trainables.tasks.base import Task
from trainables.tasks.task_data import TaskData


class Regression(Task):
    """A network with batch norm and dropout on three features: all that a checkpoint has to carry."""

    inputs = ("features",)
    metrics = {"absolute_error": "min"}  # noqa: RUF012 - as in the interface

    def __init__(self, dropout: float = 0.2, batch_norm: bool = True) -> None:
        self.dropout, self.batch_norm = dropout, batch_norm

    def build_model(self, width: float = 1.0) -> nn.Module:
        norm: nn.Module = nn.BatchNorm1d(16) if self.batch_norm else nn.Identity()
        return nn.Sequential(nn.Linear(3, 16), norm, nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(16, 1))

    def losses(self, outputs: Tensor, batch: Any) -> Tensor:
        return (outputs.squeeze(1) - batch["target"]).square()

    def scores(self, outputs: Tensor, batch: Any) -> dict[str, Tensor]:
        return {"absolute_error": (outputs.squeeze(1) - batch["target"]).abs()}


class Ragged(Regression):
    """Rows hold from no item to three: `count` says how many, and the loss of item j is that of the row times j + 1."""

    def losses(self, outputs: Tensor, batch: Any) -> Tensor:
        per_row = super().losses(outputs, batch)
        weights = torch.arange(1.0, 4.0, dtype=per_row.dtype, device=per_row.device)
        return (per_row[:, None] * weights)[torch.arange(3, device=per_row.device) < batch["count"][:, None]]

    def scores(self, outputs: Tensor, batch: Any) -> dict[str, Tensor]:
        return {"absolute_error": super().scores(outputs, batch)["absolute_error"]}


class Weighted(Ragged):
    """Trains by weights of its rows and an auxiliary loss, neither of which counts when it is judged."""

    def training_losses(self, outputs: Tensor, batch: Any) -> Tensor:
        own, auxiliary = super().losses(outputs, batch), super().losses(outputs.abs(), batch)
        weighted: Tensor = (own + 0.5 * auxiliary) * (0.5 + 0.5 * own.detach().tanh())
        return weighted


class Mixed(Regression):
    """Mixup (Zhang et al. 2018, arXiv 1710.09412): rows are mixed with others of their micro-batch, and so are targets.

    Every row of the result has its own share, from a Beta distribution of 1 and 1.
    """

    def training_batch(self, batch: Any) -> Any:
        rows = batch["features"].shape[0]
        other, share = torch.randperm(rows), torch.rand(rows)
        features = torch.lerp(batch["features"], batch["features"][other], share[:, None])
        return {**batch, "features": features, "other_target": batch["target"][other], "share": share}

    def training_losses(self, outputs: Tensor, batch: Any) -> Tensor:
        own = self.losses(outputs, batch)
        return torch.lerp(own, self.losses(outputs, {"target": batch["other_target"]}), batch["share"])


def table(rows: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Table:
    """Features [rows, 3], a target that a small network can learn, and a count from 0 to 3."""
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, 3, generator=random, dtype=dtype)
    target = features @ torch.tensor([1.0, -2.0, 0.5], dtype=dtype) + features[:, 0].square()
    return Table({"features": features, "target": target, "count": torch.randint(0, 4, (rows,), generator=random)})


def tables(rows: int = 64, *, dtype: torch.dtype = torch.float32) -> TaskData:
    return TaskData(table(rows, dtype=dtype), table(33, seed=1, dtype=dtype), lambda: table(33, seed=2, dtype=dtype))


def training(batch_size: int = 8, steps: float = 20, **changes: Any) -> Training:
    """A configuration that takes `steps` steps; `micro_batch_limit` bounds the micro-batch."""
    workers = changes.get("num_workers", 1)
    micro, accumulation = split_batch(batch_size, workers, changes.pop("micro_batch_limit", None))
    settings: dict[str, Any] = {
        "batch_size": batch_size,
        "micro_batch_size": micro,
        "accumulation_steps": accumulation,
        "learning_rate": 0.05,
        "budget": Budget(unit="steps", amount=steps),
        "evaluations": 4,
    }
    return Training(**settings | changes)


def worker(folder: Path, **changes: Any) -> WorkerContext:
    return WorkerContext(Storage(str(folder / "storage")), cache_in(folder), **changes)


def build(task: Task, seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The task's model with weights that depend on the seed alone."""
    torch.manual_seed(seed)
    return task.build_model().to(dtype)


def bits(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that are not the same to the bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


class Tied(nn.Module):
    """A language model whose last layer shares its weight with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.expand, self.contract = nn.Linear(16, 32), nn.Linear(32, 16)
        self.predict = nn.Linear(16, 50, bias=False)
        self.predict.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = x + self.contract(self.expand(x).relu())
        scores: Tensor = self.predict(x)
        return scores


def tokens(rows: int) -> tuple[Tensor]:
    return (torch.randint(0, 50, (rows, 7)),)
