"""The transformer block that images and language share, and how layers scale in width.

Plain Linear layers and `scaled_dot_product_attention`, so that quantisation finds every weight. Sizes are read from
the tensors, never written down a second time, so that pruned layers fit together again.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def scaled(size: int, width: float, multiple: int = 1) -> int:
    """`size * width`, rounded to a multiple (at least one of it): heads must divide the features."""
    return max(1, round(size * width / multiple)) * multiple


class TransformerBlock(nn.Module):
    """Attention and a two-layer perceptron, each after a layer norm and around a residual. [rows, tokens, features]."""

    def __init__(self, features: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.attention_norm = nn.LayerNorm(features)
        self.query = nn.Linear(features, features)
        self.key = nn.Linear(features, features, bias=False)  # softmax cancels a bias of the keys
        self.value = nn.Linear(features, features)
        self.project = nn.Linear(features, features)
        self.perceptron_norm = nn.LayerNorm(features)
        self.expand = nn.Linear(features, 4 * features)
        self.contract = nn.Linear(4 * features, features)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(self.attention_norm(x))
        hidden: Tensor = F.gelu(self.expand(self.perceptron_norm(x)))
        result: Tensor = x + self.contract(hidden)
        return result

    def _attend(self, x: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        result: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return result
