"""Pruning models whose channels do not go one by one: groups, heads, tied weights, branches, several outputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.support.gated_model import Gated, gated_example, size, widths
from trainables.compression.errors import CompressionError
from trainables.compression.prune import prune
from trainables.config.compression import Prune
from trainables.tasks.images import DigitsCnn

# -- groups of normalisations and convolutions ------------------------------------------------------------------------


def normed() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 24, 3, padding=1), nn.GroupNorm(8, 24), nn.ReLU()),
        *(nn.Conv2d(24, 40, 3, padding=1), nn.GroupNorm(8, 40), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 5)),
    )


def grouped(groups: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1, groups=groups), nn.ReLU()),
        *(nn.Conv2d(64, 64, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5)),
    )


@pytest.mark.parametrize(
    ("model", "ratio", "expected"),
    [
        (normed(), 0.1, [24, 32, 5]),
        (normed(), 0.25, [16, 32, 5]),
        (normed(), 0.75, [8, 8, 5]),
        (normed(), 0.9, [8, 8, 5]),
        (grouped(4), 0.1, [56, 56, 56, 5]),
        (grouped(4), 0.75, [16, 16, 16, 5]),
        (grouped(4), 0.99, [4, 4, 4, 5]),
        (grouped(16), 0.9, [16, 16, 8, 5]),
        (grouped(64), 0.9, [8, 8, 8, 5]),
    ],
)
def test_groups_lose_the_share_that_is_nearest_to_the_ratio(
    model: nn.Module, ratio: float, expected: list[int]
) -> None:
    pruned = prune(model, Prune(ratio=ratio), (torch.randn(2, 3, 8, 8),)).model
    assert widths(pruned) == expected


def test_digits_cnn_with_group_norm_gets_smaller_with_the_ratio() -> None:
    model = DigitsCnn(channels=32, norm="group").build_model()
    sizes = [size(prune(model, Prune(ratio=ratio), (torch.randn(2, 1, 8, 8),)).model) for ratio in (0.1, 0.5, 0.9)]
    assert 0.7 < sizes[0] / size(model) < 0.9
    assert 0.2 < sizes[1] / size(model) < 0.3
    assert sizes[2] / size(model) < 0.03


def test_layers_left_whole_and_another_share_than_asked_are_told() -> None:
    images = (torch.randn(2, 3, 8, 8),)
    assert prune(normed(), Prune(ratio=0.5), images).warnings == ()
    assert prune(normed(), Prune(ratio=0.1), images).warnings == (
        "prune 0.1 left whole 0 (24 channels in multiples of 8)",
    )
    assert prune(normed(), Prune(ratio=0.9), images).warnings == (
        "prune 0.9 removed 75% of the channels, which go in multiples of up to 8",
    )
    with pytest.raises(CompressionError, match="no layer is wide enough to lose channels in multiples of 24"):
        prune(nn.Sequential(nn.Conv2d(3, 24, 1), nn.GroupNorm(24, 24), nn.Conv2d(24, 5, 1)), Prune(round_to=1), images)


# -- gates: channels that only go in pairs, and layers whose output is cut up ------------------------------------------


PAIRS = ["chunk", "split", "slices", "every other", "glu"]


@pytest.mark.parametrize("dims", [2, 4], ids=["linear", "convolution"])
@pytest.mark.parametrize("how", PAIRS)
def test_a_gated_layer_loses_the_share_that_is_asked_in_multiples_of_each_half(how: str, dims: int) -> None:
    torch.manual_seed(0)
    for ratio, halves in ((0.25, 48), (0.5, 32), (0.75, 16), (0.3, 44)):
        pruned = prune(Gated(how, dims), Prune(ratio=ratio), (gated_example(dims),))
        assert pruned.warnings == ()
        assert widths(pruned.model)[1] == 2 * halves
        assert pruned.model.down.weight.shape[1] == halves
        assert pruned.warnings == ()


# -- recurrent layers, and models with nothing to choose from ---------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], hidden: bool) -> None:
        super().__init__()
        self.read = nn.Linear(8, 16)
        self.layer = kind(16, 32, batch_first=True)  # type: ignore[call-arg]
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)) if hidden else nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        read, _ = self.layer(self.read(x))
        scores: Tensor = self.head(read.mean(1))
        return scores


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")  # of nn.RNNBase's own, by torch.export
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_recurrent_layers_are_left_whole_and_told(kind: type[nn.RNNBase]) -> None:
    example = (torch.randn(2, 5, 8),)
    pruned = prune(Recurrent(kind, hidden=True), Prune(ratio=0.5), example)
    assert widths(pruned.model) == [16, 16, 4]
    assert pruned.warnings == (f"recurrent layers are not pruned: layer ({kind.__name__})",)
    words = (
        r"prune 0\.5 removed nothing \(all channels: every Linear and convolution layer feeds the outputs, a recurrent "
        rf"layer or a layer that is left out; recurrent layers are not pruned: layer \({kind.__name__}\)\); "
        "use distill or int8"
    )
    with pytest.raises(CompressionError, match=words):
        prune(Recurrent(kind, hidden=False), Prune(ratio=0.5), example)


class Encoder(nn.Module):
    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed, self.classify = nn.Linear(8, 32), nn.Linear(32, 5)
        self.attention = attention
        self.expand, self.contract = nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        keys = x if self.attention.kdim == 32 else x[..., : self.attention.kdim]
        x = x + self.attention(x, keys, keys)[0]
        x = x + self.contract(self.expand(x).relu())
        scores: Tensor = self.classify(x.mean(1))
        return scores


def scale(layer: nn.Module, factors: Tensor) -> None:
    """Scale whatever `layer`, of 32 channels, makes or reads of each."""
    for parameter in layer.parameters():
        for dimension, length in enumerate(parameter.shape):
            if length in (32, 96):
                parameter *= factors.repeat(length // 32).view(-1, *[1] * (parameter.ndim - 1 - dimension))


def test_heads_of_multi_head_attention_stay_in_place_and_lose_what_is_dead_in_all() -> None:
    torch.manual_seed(0)
    model = Encoder(nn.MultiheadAttention(32, 4, batch_first=True)).eval()
    factors = torch.tensor([1e-6, 1, 1, 1e-6, 1e-6, 1, 1e-6, 1]).repeat(4)
    factors[:8] = 0  # the first head has nothing at all to say, and yet must stay as large as the others
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
        for layer in (model.embed, model.attention, model.expand, model.contract, model.classify):
            scale(layer, factors)
        model.expand.weight[::2] = 0
        model.expand.bias[::2] = 0
        model.contract.weight[:, ::2] = 0
    x = torch.randn(16, 6, 8)
    pruned = prune(model, Prune(ratio=0.5), (x,)).model.eval()
    assert widths(pruned) == [16, 5, 16, 32, 16]
    assert (pruned.attention.num_heads, pruned.attention.head_dim) == (4, 4)
    with torch.no_grad():
        for scaled in (pruned.attention.in_proj_weight[:16], pruned.attention.in_proj_bias[:16]):
            scaled *= (4 / 8) ** 0.5  # the product of queries and keys is divided by the root of the head's size
    torch.testing.assert_close(pruned(x), model(x))


def test_as_many_features_of_every_head_remain_in_an_encoder_layer() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), nn.Linear(32, 5))
    pruned = prune(model, Prune(ratio=0.5), (torch.randn(3, 6, 8),)).model
    kept = (pruned[0].bias[:, None] == model[0].bias).nonzero()[:, 1]
    assert torch.equal(kept // 8, torch.arange(4).repeat_interleave(4))
    assert pruned[1].linear1.out_features == 32


def test_attention_that_cannot_be_narrowed_is_kept_and_the_rest_is_pruned() -> None:
    model = Encoder(nn.MultiheadAttention(32, 4, batch_first=True, kdim=16, vdim=16))
    pruned = prune(model, Prune(ratio=0.5), (torch.randn(3, 6, 8),))
    assert widths(pruned.model) == [32, 5, 32, 32, 32]
    assert "prune 0.5 left attention whole: " in pruned.warnings[0]
