"""How a learning rate that is good at one batch size is carried to another.

Each rule is the centre of a grid, not an answer: below the critical batch size it holds roughly, above it too high a
rate results. So put multipliers around it and look whether the best one lies on the edge. kappa = batch_size /
at_batch_size.
"""

from __future__ import annotations

import math

from orchestrator.spec import Rule, ScaledLearningRate
from trainables.config import Adam, AdamW, Optimizer, Sgd

SIGNIFICANT_DIGITS = 12  # 0.05 * 3 and 0.15 are one rate, and one trial


def linear(base: float, kappa: float) -> float:
    """base * kappa, for SGD. Goyal et al. 2017 (arXiv 1706.02677), there with warm-up and up to batches of 8192.

    Doubt: it assumes that the weights barely move within kappa steps, which fails early in training and for large
    kappa.
    """
    return base * kappa


def sqrt(base: float, kappa: float) -> float:
    """base * sqrt(kappa), for Adam and its kin. Malladi et al. 2022 (arXiv 2205.10287), from an SDE approximation.

    Doubt: the full rule scales the betas and epsilon too, and holds where gradient noise dominates; only the rate is
    scaled here.
    """
    return base * math.sqrt(kappa)


def none(base: float, kappa: float) -> float:
    """base, at every batch size: the comparison then mixes the batch size with a rate that suits only some of them."""
    return base


def scaled_rates(rule: ScaledLearningRate, batch_size: int) -> list[tuple[float, str]]:
    """(learning rate, where it comes from) for every multiplier, in the order of the sweep file."""
    kappa = batch_size / (rule.at_batch_size or batch_size)
    centre = {"linear": linear, "sqrt": sqrt, "none": none}[rule.rule](rule.base, kappa)
    origin = f"{rule.base:g} at {rule.at_batch_size}" if rule.at_batch_size else f"{rule.base:g}"
    source = f"fixed {rule.base:g}" if rule.rule == "none" else f"{rule.rule} from {origin}"
    return [
        (_rounded(centre * multiplier), source if multiplier == 1 else f"{source} x {multiplier:g}")
        for multiplier in rule.multipliers
    ]


def usual_rule(optimizer: Optimizer) -> Rule:
    """The rule that the literature gives for an optimiser."""
    match optimizer:
        case Sgd():
            return "linear"
        case Adam() | AdamW():
            return "sqrt"


def _rounded(rate: float) -> float:
    return float(f"{rate:.{SIGNIFICANT_DIGITS}g}")
