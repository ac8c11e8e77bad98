"""A task whose steps run out of memory above a given number of rows; importable by processes that tests start."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from trainables.tasks.images import DigitsCnn


class Hungry(DigitsCnn):
    """Raises torch's out-of-memory error for more than `most_rows` rows with gradients; `rank` -1: on every worker."""

    def __init__(self, most_rows: int = 8, rank: int = -1, after_steps: int = 0) -> None:
        super().__init__(channels=4)
        self.most_rows, self.rank, self.after_steps = most_rows, rank, after_steps
        self.calls = 0

    def forward(self, model: nn.Module, batch: Any) -> torch.Tensor:
        rows = len(batch["image"])
        here = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        if torch.is_grad_enabled() and self.rank in (-1, here):
            self.calls += 1
            if rows > self.most_rows and self.calls > self.after_steps:
                raise torch.OutOfMemoryError(f"CUDA out of memory: no room for {rows} rows")
        return super().forward(model, batch)


class Greedy(DigitsCnn):
    """One hidden row of a mebibyte for every image, so that memory is what bounds the batch."""

    def build_model(self, width: float = 1.0) -> nn.Module:
        return Wide()


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.narrow, self.wide = nn.Linear(64, 10), nn.Parameter(torch.zeros(2**18))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.narrow(image.flatten(1).float())
        hidden = (logits[:, :1] * self.wide).exp()
        return logits + hidden.mean(1, keepdim=True)


class Heavy(DigitsCnn):
    """75 MiB of weights and little beside them, so that copies of the weights are what fills the memory."""

    def build_model(self, width: float = 1.0) -> nn.Module:
        return nn.Sequential(Flat(), nn.Linear(64, 2**18), nn.Linear(2**18, 10))


class Normed(DigitsCnn):
    """Batch norm of vectors, which cannot take its statistics of one row; above `most_rows` memory runs out."""

    def __init__(self, most_rows: int = 1_000_000) -> None:
        super().__init__()
        self.most_rows = most_rows

    def build_model(self, width: float = 1.0) -> nn.Module:
        return nn.Sequential(Flat(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Linear(16, 10))

    def forward(self, model: nn.Module, batch: Any) -> torch.Tensor:
        if model.training and len(batch["image"]) > self.most_rows:
            raise torch.OutOfMemoryError(f"CUDA out of memory: no room for {len(batch['image'])} rows")
        return super().forward(model, batch)


class Flat(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1).float()


class Shortened(DigitsCnn):
    """One item of loss for every image, of which it sees as many pixels as the highest label says, and one more."""

    def build_model(self, width: float = 1.0) -> nn.Module:
        return nn.Linear(1, 10)

    def forward(self, model: nn.Module, batch: Any) -> torch.Tensor:
        seen = batch["image"].flatten(1)[:, : 1 + int(batch["label"].max())]
        logits: torch.Tensor = model(seen[..., None])
        return logits.mean(1)


class Trimmed(DigitsCnn):
    """Its images hold as many items of loss as their label says, and one more; only label 9 has ten."""

    def losses(self, outputs: torch.Tensor, batch: Any) -> torch.Tensor:
        per_row = super().losses(outputs, batch)
        return per_row[:, None].expand(-1, 10)[torch.arange(10) <= batch["label"][:, None]]


class Broken(DigitsCnn):
    def losses(self, outputs: torch.Tensor, batch: Any) -> torch.Tensor:
        raise RuntimeError("no loss today")
