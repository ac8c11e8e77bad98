"""Language modelling, byte by byte: a small causal transformer over the sources of Python's standard library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.data.builtin import CONTEXT_BYTES
from trainables.tasks.base import Batch, Task
from trainables.tasks.layers import TransformerBlock, scaled

VOCABULARY = 256


class StdlibGpt(Task):
    """Columns: bytes uint8 [64], next_bytes uint8 [64]. An item is a byte to predict.

    `bits_per_byte` is the loss in bits: 8 is guessing, and what a file would shrink to by arithmetic coding.
    """

    train = "builtin://stdlib/train"
    validation = "builtin://stdlib/validation"
    test = "builtin://stdlib/test"
    inputs = ("bytes",)
    metrics: ClassVar[Mapping[str, Literal["min", "max"]]] = {"accuracy": "max", "bits_per_byte": "min"}

    def __init__(self, features: int = 64, heads: int = 4, layers: int = 2) -> None:
        if features % heads:
            raise ValueError(f"features {features} cannot be divided by heads {heads}")
        self.features, self.heads, self.layers = features, heads, layers

    def build_model(self, width: float = 1.0) -> nn.Module:
        return ByteTransformer(scaled(self.features, width, self.heads), self.heads, self.layers)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), batch["next_bytes"].flatten().long(), reduction="none")

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        right = outputs.argmax(dim=-1) == batch["next_bytes"]
        return {"accuracy": right.flatten().float(), "bits_per_byte": self.losses(outputs, batch) / math.log(2)}


class ByteTransformer(nn.Module):
    """Bytes [rows, 64] -> scores of the byte that follows each of them [rows, 64, 256]."""

    def __init__(self, features: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, features)
        self.position = nn.Embedding(CONTEXT_BYTES, features)
        self.blocks = nn.Sequential(*(TransformerBlock(features, heads, causal=True) for _ in range(layers)))
        self.norm = nn.LayerNorm(features)
        self.predict = nn.Linear(features, VOCABULARY)

    def forward(self, content: Tensor) -> Tensor:
        places = torch.arange(content.shape[1], device=content.device)
        x = self.embed(content.int()) + self.position(places)
        scores: Tensor = self.predict(self.norm(self.blocks(x)))
        return scores
