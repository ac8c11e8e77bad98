"""Two optimisers that torch does not have, as their papers write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023 (arXiv 2302.06675), algorithm 2.

    weights  -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay weights)
    m         = beta2 m + (1 - beta2) g
    """

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group, weights, gradient, state in _trained(self):
            (beta1, beta2), lr = group["betas"], group["lr"]
            if not state:
                state["momentum"] = torch.zeros_like(weights)
            momentum = state["momentum"]
            direction = torch.lerp(gradient, momentum, beta1).sign_()
            weights.mul_(1 - lr * group["weight_decay"]).add_(direction, alpha=-lr)
            momentum.lerp_(gradient, 1 - beta2)


class Lamb(torch.optim.Optimizer):
    """You et al. 2019 (arXiv 1904.00962), algorithm 2, with the identity for phi. m and v are Adam's, bias-corrected.

    update    = m / (sqrt(v) + eps) + weight_decay weights
    weights  -= lr |weights| / |update| update          for each tensor; the ratio is 1 where either norm is 0
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group, weights, gradient, state in _trained(self):
            beta1, beta2 = group["betas"]
            if not state:
                state.update(step=0, mean=torch.zeros_like(weights), square=torch.zeros_like(weights))
            state["step"] = step = state["step"] + 1
            mean = state["mean"].lerp_(gradient, 1 - beta1)
            square = state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            update = (mean / (1 - beta1**step)) / ((square / (1 - beta2**step)).sqrt_() + group["eps"])
            update.add_(weights, alpha=group["weight_decay"])
            ratio = weights.norm() / update.norm()
            ratio = torch.where(ratio.isfinite() & (ratio > 0), ratio, torch.ones_like(ratio))
            weights.sub_(update * ratio, alpha=group["lr"])


def _trained(optimizer: torch.optim.Optimizer) -> Iterable[tuple[dict[str, Any], Tensor, Tensor, dict[str, Any]]]:
    """(group, weights, gradient, state) of every tensor that has a gradient."""
    for group in optimizer.param_groups:
        for weights in group["params"]:
            if weights.grad is not None:
                yield group, weights, weights.grad, optimizer.state[weights]
