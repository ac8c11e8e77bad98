"""An exported model gives plain containers, which any process knows; a task takes from them what it took before."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from trainables.measure.artifact import ArtifactError, trace


class LibraryOutput(OrderedDict[str, Any]):
    """As Hugging Face's ModelOutput: a mapping with attributes, registered where its library is imported."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


_pytree.register_pytree_node(
    LibraryOutput,
    lambda outputs: (list(outputs.values()), list(outputs)),
    lambda values, names: LibraryOutput(zip(names, values, strict=True)),
    serialized_type_name="a_library.LibraryOutput",
)


class Deciding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Strange(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return object()


class Masked(nn.Module):
    def __init__(self, **hints: bool) -> None:
        super().__init__()
        self.layer, self.hints = nn.Transformer(8, 2, 1, 1, 8, batch_first=True), hints

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        outputs: Tensor = self.layer(x, x, tgt_mask=mask, **self.hints)
        return outputs


def test_what_cannot_be_exported_is_told_with_its_line_and_the_way_out() -> None:
    for model, size, words in (
        (
            Deciding(),
            (2, 3),
            r"its code depends on the values of a tensor.*test_measure_plain_outputs.py, line \d+, in forward",
        ),
        (
            Strange(),
            (2, 3),
            r"it returns an object of the class object; return a tensor, or a tuple",
        ),
        (Masked(), (2, 5, 8), r"pass tgt_is_causal=True.*line \d+, in forward"),
    ):
        with pytest.raises(ArtifactError, match=words):
            trace(model.eval(), (torch.randn(size),))
    trace(Masked(tgt_is_causal=True).eval(), (torch.randn(2, 5, 8),))
