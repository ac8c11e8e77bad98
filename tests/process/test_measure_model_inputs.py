"""What is exported, calibrated and timed is given what the task's own `forward` gives the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.scaled_model import Scaled, batch, pictures
from tests.support.training_samples import training, worker
from trainables.compression.errors import CompressionError
from trainables.compression.fine_tune import Context
from trainables.compression.quantize import quantize
from trainables.config.compression import Int8
from trainables.data.table import Table
from trainables.tasks.base import Batch, Task
from trainables.tasks.task_data import TaskData


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


# -- what static quantisation made of unusual models ------------------------------------------------------------------


class Block(nn.Module):
    """A residual block with one ReLU, used twice, as they are written everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU()
        self.last = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.relu(self.one(x))
        both = self.relu(first + self.two(first))
        outputs: Tensor = self.last(both.mean((2, 3)))
        return outputs


class Siamese(nn.Module):
    """One encoder for both halves."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten())
        self.last = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.last((self.encode(x[..., :4]) - self.encode(x[..., 2:])).abs()[:, :32])
        return outputs


class Masked(nn.Module):
    """Nothing that static quantisation converts, and an 8-bit buffer of its own."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolve = nn.Conv1d(6, 2, 3)
        self.register_buffer("mask", torch.ones(6, dtype=torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.convolve(x.flatten(1, 2) * self.mask).mean(2)
        return outputs


class Floats(Task):
    inputs = ("x",)

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def build_model(self, width: float = 1.0) -> nn.Module:
        return self.model

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.mse_loss(outputs, torch.zeros_like(outputs), reduction="none").mean(1)


def quantized(model: nn.Module, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    x = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(2)).to(dtype)
    table = Table({"x": x})
    context = Context(Floats(model), TaskData(table, table, lambda: table), training(8, 8), worker(folder))
    return quantize(model.eval(), Int8(mode="static"), context), x


@pytest.mark.parametrize("build", [Block, Siamese])
def test_a_module_that_is_called_twice_is_quantised(build: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build()
    found, x = quantized(model, tmp_path)
    assert 0.9 < found.converted_fraction <= 1.0
    with torch.no_grad():
        exact, rounded = model(x), found.program.module()(x)
    assert float((rounded - exact).abs().max()) < 0.1 * float(exact.std())


def test_the_share_that_was_converted_is_never_more_than_all(tmp_path: Path) -> None:
    found, _ = quantized(Block().to(torch.bfloat16), tmp_path, torch.bfloat16)
    assert 0.5 < found.converted_fraction <= 1.0


def test_integers_that_were_there_before_were_not_converted(tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match="converted nothing"):
        quantized(Masked(), tmp_path)
