"""What is exported, calibrated and timed is given what the task's own `forward` gives the model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tests.support.training_samples import training, worker
from trainables.compression.fine_tune import Context
from trainables.compression.quantize import quantize
from trainables.config.compression import Int8
from trainables.data.table import Table
from trainables.tasks.base import Batch, Task
from trainables.tasks.task_data import TaskData


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


def test_static_quantisation_is_calibrated_on_what_the_model_sees(tmp_path: Path) -> None:
    """On the raw bytes, all of the activations would have passed for one number."""
    task, table = Scaled(), pictures()
    model = task.build_model().eval()
    context = Context(task, TaskData(table, table, lambda: table), training(8, 8), worker(tmp_path))
    program = quantize(model, Int8(), context).program.module()
    rows = batch(table, 64)
    with torch.no_grad():
        exact, rounded = task.forward(model, rows), task.forward(program, rows)
    assert float((rounded - exact).abs().max()) < 0.05 * float(exact.std())
