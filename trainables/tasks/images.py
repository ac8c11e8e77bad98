"""Image classification: scikit-learn's 8x8 handwritten digits, with a convolutional network or a small transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.tasks.base import Batch, Task
from trainables.tasks.layers import TransformerBlock, scaled
from trainables.tasks.norms import NORMS, norm_layer

CLASSES = 10


class _Digits(Task):
    """Columns: image float32 [1, 8, 8] from 0 to 1, label int64. An item is an image."""

    train = "builtin://digits/train"
    validation = "builtin://digits/validation"
    test = "builtin://digits/test"
    inputs = ("image",)
    metrics: ClassVar[Mapping[str, Literal["min", "max"]]] = {"accuracy": "max"}

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(outputs, batch["label"], reduction="none")

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"accuracy": (outputs.argmax(dim=1) == batch["label"]).float()}


class DigitsCnn(_Digits):
    """Three convolutions, each normalised. Channels: `channels`, twice and four times as many.

    `norm` is one of `norms.NORMS`; `ghost_size`, in rows, matters to ghost batch norm alone.
    """

    def __init__(self, channels: int = 32, norm: str = "batch", ghost_size: int = 16) -> None:
        if norm not in NORMS:
            raise ValueError(f"norm {norm!r} is not one of {', '.join(NORMS)}")
        self.channels, self.norm, self.ghost_size = channels, norm, ghost_size

    def build_model(self, width: float = 1.0) -> nn.Module:
        narrow = scaled(self.channels, width)
        middle, wide = scaled(2 * self.channels, width), scaled(4 * self.channels, width)
        return nn.Sequential(
            *self._convolution(1, narrow),
            nn.MaxPool2d(2),
            *self._convolution(narrow, middle),
            nn.MaxPool2d(2),
            *self._convolution(middle, wide),
            nn.Flatten(),
            nn.Linear(4 * wide, wide),  # 2x2 pixels are left
            nn.ReLU(),
            nn.Linear(wide, CLASSES),
        )

    def _convolution(self, inputs: int, outputs: int) -> tuple[nn.Module, ...]:
        convolution = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)  # the norm has a bias
        return convolution, norm_layer(self.norm, outputs, self.ghost_size), nn.ReLU()


class DigitsTransformer(_Digits):
    """A transformer over 16 patches of 2x2 pixels."""

    def __init__(self, features: int = 64, heads: int = 4, layers: int = 3) -> None:
        if features % heads:
            raise ValueError(f"features {features} cannot be divided by heads {heads}")
        self.features, self.heads, self.layers = features, heads, layers

    def build_model(self, width: float = 1.0) -> nn.Module:
        return PatchTransformer(scaled(self.features, width, self.heads), self.heads, self.layers)


class PatchTransformer(nn.Module):
    """Images [rows, 1, 8, 8] -> class scores [rows, 10]."""

    def __init__(self, features: int, heads: int, layers: int) -> None:
        super().__init__()
        self.patch = nn.PixelUnshuffle(2)
        self.embed = nn.Linear(4, features)
        self.position = nn.Embedding(16, features)
        self.blocks = nn.Sequential(*(TransformerBlock(features, heads, causal=False) for _ in range(layers)))
        self.norm = nn.LayerNorm(features)
        self.classify = nn.Linear(features, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        patches = self.patch(image).flatten(2).transpose(1, 2)  # [rows, 16, 4]
        x = self.embed(patches) + self.position(torch.arange(16, device=image.device))
        scores: Tensor = self.classify(self.norm(self.blocks(x)).mean(dim=1))
        return scores
