"""A task that scales and transposes its inputs before its model gets them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.data.table import Table
from trainables.tasks.base import Batch, Task


class Scaled(Task):
    """The column is of bytes around 100; the model is given numbers around 0."""

    inputs = ("raw",)

    def build_model(self, width: float = 1.0) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 2))

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        outputs: Tensor = model((batch["raw"].float() - 100) / 5)
        return outputs

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs.square().mean(1)


def pictures(rows: int = 64) -> Table:
    noise = torch.randn(rows, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    return Table({"raw": (100 + 5 * noise).round().clamp(0, 255).to(torch.uint8)})


def batch(table: Table, rows: int = 3) -> dict[str, Tensor]:
    return {name: table.column(name)[:rows].clone() for name in table.columns}
