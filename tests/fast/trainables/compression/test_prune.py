"""Pruning models whose channels do not go one by one: groups, heads, tied weights, branches, several outputs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.gated_model import Gated, gated_example, widths
from trainables.compression.errors import CompressionError
from trainables.compression.prune import prune
from trainables.config.compression import Prune

# -- several outputs, branches of training ----------------------------------------------------------------------------


@dataclass
class Outputs:
    y: Tensor
    other: Tensor


class Branches(nn.Module):
    """A perceptron with a second output layer, and with one that is used in training only."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.second, self.last = nn.Linear(16, 64), nn.Linear(64, 64), nn.Linear(64, 5)
        self.other = nn.Linear(64, 3 if kind in ("tuple", "dict", "dataclass") else 5)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor] | dict[str, Tensor] | Outputs:
        early = self.first(x).relu()
        late = self.second(early).relu()
        y: Tensor = self.last(late)
        match self.kind:
            case "tuple":
                return y, self.other(late)
            case "dict":
                return {"y": y, "other": self.other(late)}
            case "dataclass":
                return Outputs(y, self.other(late))
            case "early branch" if self.training:
                return y + self.other(early)
            case "data" if self.training and bool(early.sum() > 0):
                return y + self.other(early) + self.other(late)
            case "no training" if self.training:
                raise RuntimeError("this model is for evaluation only")
        return y


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("tuple", [32, 32, 5, 3]),
        ("dict", [32, 32, 5, 3]),
        ("dataclass", [32, 32, 5, 3]),
        ("early branch", [64, 32, 5, 5]),
        ("no training", [32, 32, 5, 5]),
    ],
)
def test_models_with_more_outputs_or_branches_are_pruned_and_still_run(kind: str, expected: list[int]) -> None:
    x = torch.randn(4, 16)
    model = Branches(kind)
    pruned = prune(model, Prune(ratio=0.5), (x,))
    assert (widths(pruned.model), pruned.warnings) == (expected, ())
    if kind != "no training":
        pruned.model.train()(x)


def test_branch_of_training_that_cannot_be_followed_is_an_error_in_plain_words() -> None:
    with pytest.raises(CompressionError, match="the narrowed model does not run in training"):
        prune(Branches("data"), Prune(ratio=0.5), (torch.ones(4, 16),))


def test_trial_run_in_training_mode_leaves_statistics_and_chance_alone() -> None:
    model = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 5))
    torch.manual_seed(0)
    pruned = prune(model, Prune(ratio=0.5), (torch.randn(4, 16),)).model
    after = torch.rand(3)
    torch.manual_seed(0)
    torch.randn(4, 16)
    assert torch.equal(after, torch.rand(3))
    assert torch.equal(pruned[1].running_mean, torch.zeros(32))
    assert not pruned.training


# -- multi-head attention ---------------------------------------------------------------------------------------------


# -- tied weights -----------------------------------------------------------------------------------------------------


class Tied(nn.Module):
    """Layers in a row, of which some share their weights."""

    def __init__(self, widths: list[int], tied: dict[int, int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        for one, other in tied.items():
            self.layers[one].weight = self.layers[other].weight

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        scores: Tensor = self.layers[-1](x)
        return scores


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Linear(16, 64), nn.Linear(64, 5), nn.Linear(64, 5)
        self.right.weight = self.left.weight

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).relu()
        scores: Tensor = self.left(hidden) + self.right(hidden.tanh())
        return scores


def test_weights_that_lose_the_same_channels_remain_tied() -> None:
    pruned = prune(TwoHeads(), Prune(ratio=0.5), (torch.randn(2, 16),)).model
    assert widths(pruned) == [32, 5, 5]
    assert pruned.right.weight is pruned.left.weight


def test_layers_beside_tied_ones_are_pruned_and_these_are_left_alone() -> None:
    torch.manual_seed(0)
    model = Tied([16, 48, 64, 64, 64, 48, 5], {3: 2})
    pruned = prune(model, Prune(ratio=0.5), (torch.randn(2, 16),))
    assert widths(pruned.model) == [24, 64, 64, 64, 24, 5]
    assert pruned.model.layers[3].weight is pruned.model.layers[2].weight
    (warning,) = pruned.warnings
    assert "left layers that share weights whole: " in warning
    assert "layers layers.2 and layers.3 share a weight" in warning


@pytest.mark.parametrize("depth", [2, 8])
def test_model_of_nothing_but_tied_weights_says_so(depth: int) -> None:
    model = Tied([16, *[64] * (depth + 1), 5], dict.fromkeys(range(2, depth + 1), 1))
    with pytest.raises(CompressionError, match=r"layers layers\.1 and layers\.2 share a weight"):
        prune(model, Prune(ratio=0.5), (torch.randn(2, 16),))


# -- gates: channels that only go in pairs, and layers whose output is cut up ------------------------------------------


PAIRS = ["chunk", "split", "slices", "every other", "glu"]


@pytest.mark.parametrize("how", PAIRS)
def test_the_pairs_that_do_nothing_are_those_that_go(how: str) -> None:
    torch.manual_seed(0)
    model, x = Gated(how, 2), gated_example(2)
    dead = torch.randperm(64)[:32]
    pairs = torch.stack([2 * dead, 2 * dead + 1] if how == "every other" else [dead, dead + 64]).flatten()
    with torch.no_grad():
        model.both.weight[pairs] *= 0.01
        model.down.weight[:, dead] = 0
        for layer in (model.stem, model.down):
            layer.weight[::2], layer.bias[::2] = 0, 0
        for layer in (model.both, model.out):
            layer.weight[:, ::2] = 0
    pruned = prune(model, Prune(ratio=0.5), (x,)).model
    assert widths(pruned) == [16, 64, 16, 3]
    assert torch.allclose(pruned(x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("how", "told"), [("unbind", " both "), ("fixed", "torch-pruning cannot narrow them (RuntimeE")]
)
def test_a_gated_layer_that_cannot_be_followed_is_left_whole_and_told(how: str, told: str) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        pruned = prune(Gated(how, 2), Prune(ratio=0.5), (gated_example(2),))
        assert widths(pruned.model) == [16, 128, 16, 3]
        assert told in pruned.warnings[0]


def test_the_layer_before_a_pixel_shuffle_is_left_whole_and_the_others_are_pruned() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 64, 3, padding=1), nn.PixelShuffle(2)),
        *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1)),
    )
    pruned = prune(model, Prune(ratio=0.5), (torch.randn(2, 1, 6, 6),))
    assert widths(pruned.model) == [8, 64, 8, 1]
    (warning,) = pruned.warnings
    assert "torch-pruning cannot narrow them (IndexError: index" in warning


def test_channels_that_go_together_in_sets_of_unequal_size_are_left_and_told() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.both, self.down = nn.Linear(8, 32), nn.Linear(32, 96), nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            third = (y := self.both(self.stem(x))).shape[1] // 3
            outputs: Tensor = self.down(torch.cat([y[:, :third] * y[:, third : 2 * third], y[:, 2 * third :]], 1))
            return outputs

    torch.manual_seed(0)
    pruned = prune(Partly(), Prune(ratio=0.5), (torch.randn(2, 8),))
    assert widths(pruned.model) == [16, 96, 3]
    assert pruned.warnings[0].startswith(
        "prune 0.5 left layers whose output is cut up or shuffled whole: torch-pruning cannot"
    )
