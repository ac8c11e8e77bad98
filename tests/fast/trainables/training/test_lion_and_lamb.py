"""Lion and LAMB take the steps that their papers write, computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainables.training.lion_and_lamb import Lamb, Lion


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def step(optimizer: torch.optim.Optimizer, weights: nn.Parameter, *gradient: float) -> list[float]:
    weights.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer.step()
    return weights.tolist()


def test_lion_follows_the_sign_of_its_momentum() -> None:
    weights = parameter(1.0, -2.0)
    optimizer = Lion([weights], lr=0.1, betas=(0.9, 0.99), weight_decay=0.1)
    # sign(0.1 g) = (1, -1); 0.99 w - 0.1 (1, -1); m = 0.01 g
    assert step(optimizer, weights, 0.5, -0.1) == pytest.approx([0.89, -1.88])
    # 0.9 m + 0.1 g = (0.0045 - 0.001, -0.0009 + 0.02): the first goes on against its gradient
    assert step(optimizer, weights, -0.01, 0.2) == pytest.approx([0.7811, -1.9612])
    assert optimizer.state[weights]["momentum"].tolist() == pytest.approx([0.00485, 0.00101])


def test_lamb_takes_steps_as_long_as_the_weights() -> None:
    weights = parameter(3.0, 4.0)
    optimizer = Lamb([weights], lr=0.1, eps=1e-15, weight_decay=0.0)
    # m / sqrt(v) = (1, -1); 0.1 x 5 / sqrt(2) = 0.3535534
    assert step(optimizer, weights, 1.0, -1.0) == pytest.approx([2.6464466, 4.3535534])
    # again (1, -1); the weights are 5.0948124 long
    assert step(optimizer, weights, 1.0, -1.0) == pytest.approx([2.2861890, 4.7138110], abs=1e-6)


def test_the_decay_of_lamb_is_a_part_of_the_update_that_is_scaled() -> None:
    weights = parameter(3.0, 4.0)
    optimizer = Lamb([weights], lr=0.1, eps=1e-15, weight_decay=0.5)
    # (1, -1) + 0.5 w = (2.5, 1), which is 2.6925824 long; 5 / 2.6925824 = 1.8569534
    assert step(optimizer, weights, 2.0, -2.0) == pytest.approx([2.5357617, 3.8143047])


@pytest.mark.parametrize("start", [(0.0, 0.0), (3.0, 4.0)])
def test_a_norm_of_zero_leaves_the_ratio_at_one(start: tuple[float, float]) -> None:
    weights = parameter(*start)
    optimizer = Lamb([weights], lr=0.1, eps=1e-15, weight_decay=0.0)
    gradient = (0.5, -0.5) if start == (0.0, 0.0) else (0.0, 0.0)
    expected = (-0.1, 0.1) if start == (0.0, 0.0) else start
    assert step(optimizer, weights, *gradient) == pytest.approx(expected)


def test_a_parameter_without_a_gradient_stays() -> None:
    for kind in (Lion, Lamb):
        weights = parameter(1.0)
        kind([weights], lr=0.1, weight_decay=0.5).step()
        assert weights.tolist() == [1.0]
