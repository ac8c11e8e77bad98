"""Reading the structure of a model, and pruning it, on models small enough to know the answer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.training_samples import Tied, bits, differing, tokens
from trainables.compression.errors import CompressionError
from trainables.compression.prune import _ratio, prune
from trainables.compression.structure import Structure
from trainables.config.compression import Prune


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# -- reading the structure of a model ---------------------------------------------------------------------------------


class Attention(nn.Module):
    """A block in the ways that people write them: fused or separate projections, head size known or worked out."""

    def __init__(self, fused: bool = False, fixed: bool = False) -> None:
        super().__init__()
        self.heads, self.fused, self.size = 4, fused, 8 if fixed else -1
        self.norm = nn.LayerNorm(32)
        self.qkv = nn.ModuleList([nn.Linear(32, 96)] if fused else [nn.Linear(32, 32) for _ in range(3)])
        self.project = nn.Linear(32, 32)
        self.expand, self.contract = nn.Linear(32, 64), nn.Linear(64, 32)
        self.embed, self.classify = nn.Linear(6, 32), nn.Linear(32, 10)
        self.position = nn.Parameter(torch.randn(5, 32))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.position
        y = self.norm(x)
        parts = self.qkv[0](y).chunk(3, dim=-1) if self.fused else [layer(y) for layer in self.qkv]
        heads = [part.reshape(x.shape[0], 5, self.heads, self.size).transpose(1, 2) for part in parts]
        mixed = F.scaled_dot_product_attention(*heads)
        x = x + self.project(mixed.transpose(1, 2).flatten(2))
        x = x + self.contract(F.gelu(self.expand(x)))
        scores: Tensor = self.classify(x.mean(1))
        return scores


class TwoOutputLayers(nn.Module):
    """The output is a sum, of which one part is normalised: both layers feed it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Linear(6, 16), nn.Linear(16, 8), nn.Linear(16, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).relu()
        outputs: Tensor = self.norm(self.left(hidden)) + self.right(hidden).tanh()
        return outputs


def test_output_layers_are_found() -> None:
    model = TwoOutputLayers()
    assert set(Structure(model, (torch.randn(2, 6),)).outputs) == {model.left, model.right}
    tied = Tied()
    assert set(Structure(tied, tokens(2)).outputs) == {tied.embed, tied.predict}


@pytest.mark.parametrize("fused", [False, True])
def test_attention_and_perceptron_are_told_apart(fused: bool) -> None:
    model = Attention(fused)
    structure = Structure(model, (torch.randn(2, 5, 6),))
    assert structure.attention_heads == dict.fromkeys(model.qkv, 4)
    assert set(structure.multiplied) == set(model.qkv)
    assert structure.hidden == [model.expand]
    assert structure.outputs == [model.classify]


# -- pruning ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 512), st.floats(0.01, 0.99), st.sampled_from([1, 2, 4, 8, 16]))
def test_share_of_a_layer_leaves_a_multiple_near_the_ratio(width: int, ratio: float, round_to: int) -> None:
    kept = int(width * (1 - _ratio(width, Prune(ratio=ratio, round_to=round_to))))
    assert 1 <= kept <= width
    if kept < width:
        assert kept % round_to == 0
        assert abs(kept - width * (1 - ratio)) <= max(round_to / 2, round_to - width * (1 - ratio)) + 1e-9


@pytest.mark.parametrize(("ratio", "hidden"), [(0.25, 24), (0.5, 16), (0.9, 4), (0.99, 4)])
def test_perceptron_loses_the_asked_share_of_each_hidden_layer(ratio: float, hidden: int) -> None:
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    before = size(model)
    pruned = prune(model, Prune(ratio=ratio), (torch.randn(4, 10),)).model
    assert size(pruned) == 11 * hidden + (hidden + 1) * hidden + 3 * (hidden + 1)
    assert size(model) == before


def test_weakest_channels_are_those_that_go() -> None:
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
        model[0].weight[::2] *= 1e-4
        model[0].bias[::2] = 0
        model[2].weight[:, ::2] *= 1e-4
    pruned = prune(model, Prune(ratio=0.5), (torch.randn(4, 4),)).model
    given_rows = torch.randn(100, 4)
    torch.testing.assert_close(pruned(given_rows), model(given_rows), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "inputs", "warning"),
    [
        (Attention(), (torch.randn(3, 5, 6),), None),
        (Attention(fused=True), (torch.randn(3, 5, 6),), None),
        (Attention(fixed=True), (torch.randn(3, 5, 6),), "left attention whole: "),
        (TwoOutputLayers(), (torch.randn(3, 6),), None),
        (Tied(), tokens(3), None),
        (nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)),
         (torch.randn(3, 1, 8, 8),), None),
    ],
    ids=["attention", "fused projections", "fixed head size", "two output layers", "tied weights", "convolution"],
)  # fmt: skip
def test_what_can_be_pruned_is_pruned_and_the_outputs_keep_their_shape(
    model: nn.Module, inputs: tuple[Tensor, ...], warning: str | None
) -> None:
    torch.manual_seed(0)
    pruned = prune(model, Prune(ratio=0.5), inputs)
    assert size(pruned.model) < 0.8 * size(model)
    assert pruned.model(*inputs).shape == model(*inputs).shape
    assert any(warning in each for each in pruned.warnings) if warning else pruned.warnings == ()


@pytest.mark.parametrize("fused", [False, True])
def test_every_head_keeps_the_same_features_in_queries_keys_values_and_projection(fused: bool) -> None:
    torch.manual_seed(0)
    model = Attention(fused)
    pruned = prune(model, Prune(ratio=0.5), (torch.randn(3, 5, 6),)).model
    biases, left = (torch.cat([layer.bias.detach() for layer in each.qkv]) for each in (model, pruned))
    kept = (left[:, None] == biases).nonzero()[:, 1].reshape(3, 4, 4)  # part, head, feature of the fused projections
    features = kept - 32 * torch.arange(3)[:, None, None] - 8 * torch.arange(4)[:, None]
    assert torch.equal(features, features[:1, :1].expand(3, 4, 4))
    assert features.min() >= 0
    assert features.max() < 8
    columns = kept[0].flatten()  # of what the projection reads
    rows = (pruned.project.bias[:, None] == model.project.bias).nonzero()[:, 1]
    assert torch.equal(pruned.project.weight, model.project.weight[rows][:, columns])


def test_pruning_twice_gives_the_same_model() -> None:
    torch.manual_seed(0)
    model, inputs = Attention(), (torch.randn(3, 5, 6),)
    first, second = (prune(model, Prune(), inputs).model for _ in range(2))
    assert differing(bits(first), bits(second)) == []


def test_layer_with_nothing_to_lose_is_an_error() -> None:
    with pytest.raises(CompressionError, match=r"prune 0\.5 removed nothing .*layer feeds the outputs"):
        prune(nn.Linear(8, 8), Prune(), (torch.randn(2, 8),))


def test_frozen_layers_are_pruned_too_and_remain_frozen() -> None:
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    model[0].requires_grad_(False)
    pruned = prune(model, Prune(ratio=0.5), (torch.randn(4, 10),)).model
    assert [layer.out_features for layer in pruned[::2]] == [16, 16, 3]
    assert [value.requires_grad for value in pruned.parameters()] == [False, False, True, True, True, True]
    assert [value.requires_grad for value in model.parameters()] == [False, False, True, True, True, True]
