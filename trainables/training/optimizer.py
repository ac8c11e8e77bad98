"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from trainables.config.training import Adam, AdamW, Constant, Optimizer, Schedule, Sgd, WarmupCosine


def build_optimizer(
    config: Optimizer, parameters: Iterable[nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """The optimiser of a trial over the parameters that are trained.

    The fused implementations update all tensors in one call: on small models the update is a large part of a step.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ValueError("the model has no parameter to train: every one has requires_grad=False")
    fused = all(parameter.is_floating_point() for parameter in trained)  # complex ones have no fused update
    match config:
        case Sgd():
            sgd = torch.optim.SGD(
                trained,
                lr=learning_rate,
                momentum=config.momentum,
                nesterov=config.nesterov,
                weight_decay=config.weight_decay,
                fused=fused,
            )
            if config.momentum and trained[0].is_cuda:
                # If loss scaling skips its first step, the fused update leaves a momentum that was never written.
                for parameter in trained:
                    sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd
        case Adam() | AdamW():
            family = torch.optim.Adam if isinstance(config, Adam) else torch.optim.AdamW
            return family(
                trained,
                lr=learning_rate,
                betas=(config.beta1, config.beta2),
                eps=config.epsilon,
                weight_decay=config.weight_decay,
                fused=fused,
            )


def learning_rate_factor(schedule: Schedule, progress: float) -> float:
    """Learning rate over its peak at `progress`, the part of the budget already spent, from 0 to 1.

    Warm-up is linear (Goyal et al. 2017, arXiv 1706.02677), the rest half a cosine (Loshchilov & Hutter 2017,
    arXiv 1608.03983). The first step of a warm-up has rate 0 only if the step takes no part of the budget.
    """
    match schedule:
        case Constant():
            return 1.0
        case WarmupCosine(warmup_fraction=warmup, final_fraction=final):
            progress = min(max(progress, 0.0), 1.0)
            if progress < warmup:
                return progress / warmup
            cosine = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
            return final + (1 - final) * cosine
