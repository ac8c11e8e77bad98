"""A model whose channels go in pairs: gate and value."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def widths(model: nn.Module) -> list[int]:
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features for layer in layers]


class Gated(nn.Module):
    """Gate and value made by one layer, as a linear layer or as a convolution; then another layer reads them."""

    def __init__(self, how: str, dims: int) -> None:
        super().__init__()
        self.how, self.dim = how, 1
        kind = nn.Linear if dims == 2 else lambda before, after: nn.Conv2d(before, after, 1)
        self.stem, self.both, self.down, self.out = kind(8, 32), kind(32, 128), kind(64, 32), kind(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.both(x)
        half = y.shape[1] // 2
        match self.how:
            case "chunk":
                value, gate = y.chunk(2, dim=1)
            case "split":
                value, gate = y.split(half, dim=1)
            case "slices":
                value, gate = y[:, :half], y[:, half:]
            case "every other":
                value, gate = y[:, ::2], y[:, 1::2]
            case "unbind":
                value, gate = y.unflatten(1, (2, -1)).unbind(1)
            case "fixed":
                value, gate = y[:, :64], y[:, 64:]
        z = F.glu(y, dim=1) if self.how == "glu" else value * gate.sigmoid()
        outputs: Tensor = self.out(x + self.down(z))
        return outputs


def gated_example(dims: int) -> Tensor:
    return torch.randn(3, 8, *[4] * (dims - 2))
