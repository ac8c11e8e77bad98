"""Structured pruning with torch-pruning: whole channels go, in all layers that share them, so the model gets smaller.

Importance of a channel: the L2 norm of its weights, averaged over the layers that share it ("group magnitude").
Source: Fang et al. 2023, doi:10.1109/CVPR52729.2023.01544.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.artifact import Inputs, first_line, two_rows
from trainables.compression.copies import copy_of
from trainables.compression.errors import CompressionError
from trainables.compression.structure import Structure
from trainables.config import Prune


@dataclass(frozen=True)
class Plan:
    """What may be pruned: everything but the outputs of `kept`, attention by heads of equal size."""

    name: str
    kept: list[nn.Module]
    heads: dict[nn.Module, int]


@dataclass(frozen=True)
class Pruned:
    model: nn.Module
    warnings: tuple[str, ...] = ()


def prune(model: nn.Module, step: Prune, example: Inputs) -> Pruned:
    """A copy of `model` without `step.ratio` of the channels of each prunable layer, on the CPU. To be fine-tuned.

    `example`: the model's inputs, each of shape [rows, ...]. The outputs keep their shape: the layers that feed them
    are found in the model's program and left alone. What torch-pruning cannot follow is left out, step by step, down
    to the hidden layers of perceptrons; every attempt is judged by running the pruned model.
    Raises CompressionError, with what went wrong, if nothing can be pruned or the model cannot be copied.
    """
    model = copy_of(model).cpu().eval()
    example = two_rows(example)
    structure = Structure(model, example)
    reasons: list[str] = []
    for plan in _plans(structure):
        try:
            pruned = _pruned(model, structure, plan, step, example)
        except Exception as error:  # whatever torch-pruning or the narrowed model raises, there is a humbler plan
            reasons.append(f"{plan.name}: {first_line(error)}")
            continue
        return Pruned(pruned, tuple(f"pruned {plan.name} only; not {reason}" for reason in reasons[-1:]))
    raise CompressionError(f"prune {step.ratio:g} removed nothing ({'; '.join(reasons)}); use distill or int8")


def _plans(structure: Structure) -> Iterator[Plan]:
    outputs = structure.outputs
    yield Plan("all channels", outputs, structure.attention_heads)
    if structure.multiplied:
        yield Plan("all channels outside attention", outputs + structure.multiplied, {})
    hidden = set(structure.hidden) - set(outputs)
    yield Plan("hidden layers of perceptrons", [layer for layer in structure.layers if layer not in hidden], {})


def _pruned(model: nn.Module, structure: Structure, plan: Plan, step: Prune, example: Inputs) -> nn.Module:
    names = {module: name for name, module in model.named_modules()}
    pruned = copy_of(model)
    kept = [pruned.get_submodule(names[layer]) for layer in plan.kept]
    heads = {pruned.get_submodule(names[layer]): count for layer, count in plan.heads.items()}
    _remove_channels(pruned, step, example, kept, heads)
    before, after = (sum(parameter.numel() for parameter in each.parameters()) for each in (model, pruned))
    if after >= before:
        raise CompressionError(f"no layer is wide enough to lose channels in multiples of {step.round_to}")
    _check_forward(model, pruned, example)
    return pruned


def _remove_channels(
    model: nn.Module, step: Prune, example: Inputs, kept: list[nn.Module], heads: dict[nn.Module, int]
) -> None:
    import torch_pruning

    # Layers are followed by what autograd records of them, and new weights are made as if all were trained.
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters(remove_duplicate=False)}
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.requires_grad or parameter.is_floating_point())
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unwrapped parameters detected")  # and treated as we want: last dimension
        pruner = torch_pruning.BasePruner(
            model,
            example,
            torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=step.ratio,
            pruning_ratio_dict={
                layer: _ratio(width // heads.get(layer, 1), step)
                for layer, width in _widths(model)
                if layer not in kept
            },
            round_to=step.round_to,
            ignored_layers=kept,
            num_heads=heads,
            # The library's defaults are shared by all calls in a process, and it writes into them.
            in_channel_groups={},
            out_channel_groups={},
        )
        pruner.step()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(trained[name])


def _widths(model: nn.Module) -> Iterator[tuple[nn.Module, int]]:
    for module in model.modules():
        match module:
            case nn.Linear(out_features=width) | nn.modules.conv._ConvNd(out_channels=width):
                yield module, width


def _ratio(width: int, step: Prune) -> float:
    """The share that leaves the nearest multiple of `round_to`, and at least one of it.

    Left to itself, the library rounds down, and a layer that would be rounded to nothing keeps everything. Half a
    channel more than the share says makes the count exact when it is cut down to a whole number.
    """
    kept = max(1, round(width * (1 - step.ratio) / step.round_to)) * step.round_to
    return 1 - (kept + 0.5) / width if kept < width else 0.0


def _check_forward(model: nn.Module, pruned: nn.Module, example: Inputs) -> None:
    """Run both on one row and on two. Raises if narrowed layers do not fit, or if the output's shape has changed."""
    with torch.no_grad():
        for rows in (1, 2):
            inputs = tuple(value[:rows] for value in example)
            expected, got = _shapes(model(*inputs)), _shapes(pruned(*inputs))
            if expected != got:
                raise CompressionError(f"the output had shape {expected} and now has {got}")


def _shapes(output: Tensor) -> tuple[int, ...]:
    return tuple(output.shape)
