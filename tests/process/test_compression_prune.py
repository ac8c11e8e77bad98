"""Pruning models whose channels do not go one by one: groups, heads, tied weights, branches, several outputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.compression.errors import CompressionError
from trainables.compression.prune import prune
from trainables.config.compression import Prune
from trainables.tasks.images import DigitsCnn


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def widths(model: nn.Module) -> list[int]:
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features for layer in layers]


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


PAIRS = ["chunk", "split", "slices", "every other", "glu"]


def gated_example(dims: int) -> Tensor:
    return torch.randn(3, 8, *[4] * (dims - 2))


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
        rf"layer or what is left out; recurrent layers are not pruned: layer \({kind.__name__}\)\); use distill or int8"
    )
    with pytest.raises(CompressionError, match=words):
        prune(Recurrent(kind, hidden=False), Prune(ratio=0.5), example)
