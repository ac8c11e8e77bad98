"""Which learning rate and weight decay each parameter of a model is trained with, over those of the trial.

    learning rate    trial's x group's factor x layer_decay^(layers above)
    weight decay     trial's x group's factor, and none for what `no_decay` names

The groups are the task's (`parameter_groups`), `no_decay` and `layer_decay` the sweep file's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from trainables.errors import ParetuneError
from trainables.tasks.base import Task
from trainables.tasks.parameter_group import ParameterGroup

SHOWN_NAMES = 8
NO_DECAY_KINDS = ("bias", "norm", "embedding")


class ParameterGroupsError(ParetuneError, ValueError):
    """Groups that do not hold every parameter exactly once, or names that no parameter has."""


@dataclass(frozen=True)
class RateGroup:
    """Parameters that are trained alike. The factors are those of the learning rate and of the weight decay."""

    parameters: tuple[nn.Parameter, ...]
    rate_factor: float = 1.0
    decay_factor: float = 1.0


def every_parameter(model: nn.Module) -> tuple[RateGroup, ...]:
    """All that are trained, alike."""
    return (RateGroup(tuple(parameter for parameter in model.parameters() if parameter.requires_grad)),)


def rate_groups(
    model: nn.Module, task: Task, no_decay: Sequence[str] = (), layer_decay: float | None = None
) -> tuple[RateGroup, ...]:
    """The groups of a training, in the order of their first parameters; what is frozen is so from now on.

    Raises ParameterGroupsError.
    """
    factors = _task_factors(model, task)
    undecayed = _undecayed(model, no_decay)
    depths = layer_depths(model) if layer_decay else {}
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        group = factors.get(id(parameter))
        rate, decay = (group.learning_rate_factor, group.weight_decay_factor) if group else (1.0, 1.0)
        if layer_decay:
            rate *= layer_decay ** depths[id(parameter)]
        if id(parameter) in undecayed:
            decay = 0.0
        members.setdefault((rate, decay), []).append(parameter)
    return tuple(RateGroup(tuple(own), rate, decay) for (rate, decay), own in members.items())


def _task_factors(model: nn.Module, task: Task) -> dict[int, ParameterGroup]:
    """The group of every parameter, by its id; empty where the task makes none. Freezes what is to be frozen."""
    groups = task.parameter_groups(model)
    if groups is None:
        return {}
    says, names = f"{type(task).__name__}.parameter_groups()", {id(p): name for name, p in model.named_parameters()}
    found: dict[int, ParameterGroup] = {}
    for group in groups:
        if not isinstance(group, ParameterGroup):
            raise ParameterGroupsError(f"{says} must give paretune.ParameterGroup objects, not {type(group).__name__}")
        rate, decay = group.learning_rate_factor, group.weight_decay_factor
        if not (0 < rate < math.inf and 0 <= decay < math.inf):
            raise ParameterGroupsError(
                f"{says} has a group with learning_rate_factor {rate:g} and weight_decay_factor {decay:g}; the first "
                "is above 0 (is_frozen=True trains nothing), the second 0 or above"
            )
        for parameter in group.parameters:
            if id(parameter) not in names:
                raise ParameterGroupsError(f"{says} has a parameter that is not the model's")
            if id(parameter) in found:
                raise ParameterGroupsError(f"{says} has {names[id(parameter)]} twice; each parameter is in one group")
            found[id(parameter)] = group
    if left := [names[id(p)] for p in model.parameters() if id(p) not in found and p.requires_grad]:
        raise ParameterGroupsError(f"{says} leaves out {_shown(left)}; each parameter is in one group")
    for parameter in model.parameters():
        if (own := found.get(id(parameter))) is not None and own.is_frozen:
            parameter.requires_grad_(False)
    return found


def _undecayed(model: nn.Module, words: Sequence[str]) -> set[int]:
    """The ids of the parameters that `no_decay` names, by their kind or by their name."""
    found: set[int] = set()
    for word in words:
        named = {
            id(parameter)
            for prefix, module in model.named_modules()
            for name, parameter in module.named_parameters(prefix, recurse=False)
            if _is_meant(word, name, module)
        }
        if not named and word not in NO_DECAY_KINDS:
            names = [name for name, _ in model.named_parameters()]
            raise ParameterGroupsError(
                f"no_decay names {word!r}, and no parameter is called so; they are {_shown(names)}; "
                f"kinds are {', '.join(NO_DECAY_KINDS)}"
            )
        found |= named
    return found


def _is_meant(word: str, name: str, module: nn.Module) -> bool:
    """Whether `no_decay: [word]` means this parameter of this module.

    A norm is known by the name of its class, which a user's own has as well; a bias by its own (`in_proj_bias`,
    `bias_ih_l0`). Any other word is a part of the name, between its dots, or a pattern for the whole of it.
    """
    match word:
        case "bias":
            return "bias" in name.rpartition(".")[2]
        case "norm":
            return "norm" in type(module).__name__.lower()
        case "embedding":
            return isinstance(module, nn.Embedding | nn.EmbeddingBag)
        case _:
            return word in name.split(".") or fnmatchcase(name, word)


def layer_depths(model: nn.Module) -> dict[int, int]:
    """For every parameter, by its id, how many layers come after its own: 0 for those of the last.

    Layers are the members of `Sequential` and `ModuleList`, and around them the modules that hold these, in the order
    in which the model registers them. What has vectors alone (a norm) belongs to the layer before it, and what lies in
    no layer (a class token, an embedding of positions) to the first one after it.
    """
    layers: list[list[nn.Parameter]] = []
    for parameters in _layers(model):
        if layers and all(parameter.ndim < 2 for parameter in parameters):
            layers[-1] += parameters
        else:
            layers.append(parameters)
    depths: dict[int, int] = {}
    for number, parameters in enumerate(layers):
        for parameter in parameters:
            depths.setdefault(id(parameter), len(layers) - 1 - number)  # one that two layers share is the first one's
    return depths


def _layers(module: nn.Module) -> Iterator[list[nn.Parameter]]:
    """The parameters of each layer of a module, which is taken apart."""
    own = list(module.parameters(recurse=False))
    for child in module.children():
        within = list(child.parameters())
        if not within:
            continue
        is_container = isinstance(child, nn.Sequential | nn.ModuleList)
        is_member = isinstance(module, nn.Sequential | nn.ModuleList)
        if is_container or (not is_member and _holds_layers(child)):
            for layer in _layers(child):
                yield own + layer
                own = []
        else:
            yield own + within
            own = []
    if own:
        yield own


def _holds_layers(module: nn.Module) -> bool:
    return any(isinstance(inner, nn.Sequential | nn.ModuleList) and len(inner) > 1 for inner in module.modules())


def hidden_matrices(model: nn.Module) -> set[int]:
    """The ids of the matrices of hidden layers: neither of the last layer, nor an embedding, nor a bare parameter."""
    depths = layer_depths(model)
    modules = list(model.modules())
    embeddings = {
        id(p)
        for module in modules
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        for p in module.parameters(recurse=False)
    }
    return {
        id(parameter)
        for module in modules
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 2 and "weight" in name and depths[id(parameter)] and id(parameter) not in embeddings
    }


def _shown(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
