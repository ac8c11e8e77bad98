"""The optimisers of a training, over groups of its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from trainables.config.optimizers import Adafactor, Adam, AdamW, CustomOptimizer, Muon, Optimizer, RmsProp, Sgd
from trainables.config.optimizers import Lamb as LambConfig
from trainables.config.optimizers import Lion as LionConfig
from trainables.error_text import first_line
from trainables.training.lion_and_lamb import Lamb, Lion
from trainables.training.named_function import NamedFunctionError, named_function
from trainables.training.optimizer_pair import OptimizerPair
from trainables.training.parameter_groups import ParameterGroupsError, RateGroup, every_parameter, hidden_matrices

OneOptimizer = Sgd | Adam | AdamW | RmsProp | Adafactor | LionConfig | LambConfig


def build_optimizer(
    config: Optimizer, model: nn.Module, learning_rate: float, groups: Sequence[RateGroup] | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a trial over the parameters that are trained, in `groups`; by default all of them alike.

    Each of its groups has a `rate_factor`, by which the learning rate of a step is multiplied. Raises
    ParameterGroupsError where there is nothing to train, and NamedFunctionError for a factory that gives none.
    """
    groups = every_parameter(model) if groups is None else groups
    if not any(group.parameters for group in groups):
        raise ParameterGroupsError("the model has no parameter to train: every one has requires_grad=False")
    match config:
        case Muon():
            return _muon(config, model, learning_rate, groups)
        case CustomOptimizer():
            return _custom(config, learning_rate, groups)
        case _:
            return _single(config, learning_rate, groups)


def _single(config: OneOptimizer, learning_rate: float, groups: Sequence[RateGroup]) -> torch.optim.Optimizer:
    """The fused implementations update all tensors at once: on small models the update is a large part of a step."""
    given = _torch_groups(groups, learning_rate, config.weight_decay)
    trained = [parameter for group in groups for parameter in group.parameters]
    fused = all(parameter.is_floating_point() for parameter in trained)  # complex ones have no fused update
    match config:
        case Sgd(momentum=momentum, nesterov=nesterov):
            sgd = torch.optim.SGD(given, lr=learning_rate, momentum=momentum, nesterov=nesterov, fused=fused)
            if momentum and trained[0].is_cuda:
                # If loss scaling skips its first step, the fused update leaves a momentum that was never written.
                for parameter in trained:
                    sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd
        case Adam():
            return torch.optim.Adam(given, learning_rate, _betas(config), config.epsilon, fused=fused)
        case AdamW():
            return torch.optim.AdamW(given, learning_rate, _betas(config), config.epsilon, fused=fused)
        case RmsProp(beta2=alpha, epsilon=epsilon, momentum=momentum, centered=centered):
            return torch.optim.RMSprop(given, learning_rate, alpha, epsilon, momentum=momentum, centered=centered)
        case Adafactor(beta2_decay=decay, clip_threshold=threshold):
            return torch.optim.Adafactor(given, learning_rate, decay, d=threshold)
        case LionConfig():
            return Lion(given, learning_rate, _betas(config))
        case LambConfig():
            return Lamb(given, learning_rate, _betas(config), config.epsilon)


def _muon(config: Muon, model: nn.Module, learning_rate: float, groups: Sequence[RateGroup]) -> torch.optim.Optimizer:
    """Raises ParameterGroupsError where there is no matrix for Muon, which would be AdamW under its name."""
    hidden = hidden_matrices(model)

    def part(is_hidden: bool) -> list[dict[str, Any]]:
        kept = [tuple(p for p in group.parameters if (id(p) in hidden) == is_hidden) for group in groups]
        halves = [replace(group, parameters=own) for group, own in zip(groups, kept, strict=True) if own]
        return _torch_groups(halves, learning_rate, config.weight_decay)

    matrices, rest = part(True), part(False)
    if not matrices:
        raise ParameterGroupsError(
            "muon trains the matrices of hidden layers, and this model has none that is trained: its weights are those "
            "of the last layer, embeddings, or kernels of convolutions; choose adamw"
        )
    muon = torch.optim.Muon(
        matrices, learning_rate, momentum=config.momentum, nesterov=config.nesterov, adjust_lr_fn="match_rms_adamw"
    )
    if not rest:
        return muon
    return OptimizerPair(muon, torch.optim.AdamW(rest, learning_rate, _betas(config), config.epsilon, fused=True))


def _custom(config: CustomOptimizer, learning_rate: float, groups: Sequence[RateGroup]) -> torch.optim.Optimizer:
    factory, decay = named_function(config.factory, "optimizer"), config.arguments.get("weight_decay", 0.0)
    given = _torch_groups(groups, learning_rate, float(decay))
    if "weight_decay" not in config.arguments:  # the factory may not know the word
        given = [{key: value for key, value in group.items() if key != "weight_decay"} for group in given]
    says = f"optimizer {config.factory!r}"
    try:
        optimizer = factory(given, lr=learning_rate, **config.arguments)
    except Exception as error:  # a user's factory may fail in any way
        said = f"{type(error).__name__}: {first_line(error)}"
        raise NamedFunctionError(f"{says} cannot be made with {dict(config.arguments)}: {said}") from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise NamedFunctionError(f"{says} gives {type(optimizer).__name__}, which is no torch.optim.Optimizer")
    if not all("rate_factor" in group for group in optimizer.param_groups):
        raise NamedFunctionError(f"{says} must keep the groups that it is given, with all their keys")
    return optimizer


def _torch_groups(groups: Sequence[RateGroup], learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    return [
        {
            "params": list(group.parameters),
            "lr": learning_rate * group.rate_factor,
            "weight_decay": weight_decay * group.decay_factor,
            "rate_factor": group.rate_factor,
        }
        for group in groups
        if group.parameters
    ]


def _betas(config: Adam | AdamW | LionConfig | LambConfig | Muon) -> tuple[float, float]:
    return config.beta1, config.beta2
