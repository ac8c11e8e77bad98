"""Structured pruning with torch-pruning: removes whole channels, in all layers that share them.

Importance of a channel: the L2 norm of its weights, averaged over the layers that share it ("group magnitude").
Source: Fang et al. 2023, doi:10.1109/CVPR52729.2023.01544.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from trainables.compression.coupling import (
    ChannelChoice,
    GluInParts,
    block_places,
    coupled,
    differ,
    multiple,
    outputs_without,
    weakest,
)
from trainables.compression.errors import CompressionError
from trainables.compression.plans import PruningPlan, pruning_plans
from trainables.compression.structure import Structure
from trainables.config.compression import Prune
from trainables.error_text import kind_and_line
from trainables.measure.artifact import ModelInputs, copy_of, two_rows
from trainables.measure.plain_outputs import tensors

ROOTS = (nn.Linear, nn.modules.conv._ConvNd)
CLEARLY_DIFFERENT = 0.1
NO_CHOICE = "every Linear and convolution layer feeds the outputs, a recurrent layer or a layer that is left out"


@dataclass(frozen=True)
class Cut:
    """A set of coupled layers, named by `layer`, with the number of channels that it had and keeps."""

    layer: str
    width: int
    kept: int
    multiple: int


@dataclass(frozen=True)
class Pruned:
    model: nn.Module
    warnings: tuple[str, ...] = ()


def prune(model: nn.Module, step: Prune, example: ModelInputs) -> Pruned:
    """A copy of `model` without `step.ratio` of the channels of each prunable layer, on the CPU. To be fine-tuned.

    `example`: the model's inputs, each of shape [rows, ...]. The outputs keep their shape: the layers that feed them
    are found in the model's program and not pruned. Layers that torch-pruning cannot follow are excluded step by step,
    down to the hidden layers of perceptrons; every attempt is checked by running the pruned model. Raises
    CompressionError, with the reasons, if nothing can be pruned, and ArtifactError if the model cannot be copied.
    """
    model = copy_of(model).cpu().eval()
    example = two_rows(example)
    structure = Structure(model, example)
    reasons: list[tuple[str, str]] = []
    for plan in pruning_plans(structure):
        try:
            pruned, cuts = _pruned(model, structure, plan, step, example)
        except CompressionError as error:
            reasons.append((plan.name, str(error)))
            continue
        except Exception as error:  # after any error of torch-pruning, the next, smaller plan is tried
            reasons.append((plan.name, f"torch-pruning cannot narrow them ({kind_and_line(error)})"))
            continue
        humbler = [f"prune {step.ratio:g} left {plan.left} whole: {reason}" for _, reason in reasons[-1:]]
        return Pruned(pruned, (*humbler, *_recurrent(model), *_notes(cuts, step)))
    distinct = {reason: name for name, reason in reversed(reasons)}  # each once, of the boldest that it stopped
    tried = "; ".join(f"{name}: {reason}" for reason, name in reversed(distinct.items()))
    recurrent = "".join(f"; {note}" for note in _recurrent(model))
    raise CompressionError(f"prune {step.ratio:g} removed nothing ({tried}{recurrent}); use distill or int8")


def _pruned(
    model: nn.Module, structure: Structure, plan: PruningPlan, step: Prune, example: ModelInputs
) -> tuple[nn.Module, list[Cut]]:
    names = {module: name for name, module in model.named_modules()}
    pruned = copy_of(model)
    kept = [pruned.get_submodule(names[layer]) for layer in plan.kept]
    heads = {pruned.get_submodule(names[layer]): count for layer, count in plan.heads.items()}
    cuts = _remove_channels(pruned, step, example, kept, heads)
    _tie_again(model, pruned)
    before, after = (sum(parameter.numel() for parameter in each.parameters()) for each in (model, pruned))
    if after >= before:
        if not cuts:
            raise CompressionError(NO_CHOICE)
        most = max(cut.multiple for cut in cuts)
        lower = ": lower round_to" if most == step.round_to > 1 else ""
        raise CompressionError(f"no layer is wide enough to lose channels in multiples of {most}{lower}")
    _check_shares(model, pruned, cuts)
    _check_forward(model, pruned, example)
    return pruned, cuts


def _check_shares(model: nn.Module, pruned: nn.Module, cuts: list[Cut]) -> None:
    """Raises if a layer of the pruned model has lost a larger share of its channels than planned for any."""
    most = max((1 - cut.kept / cut.width for cut in cuts), default=0.0)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
            width, left = len(layer.weight), len(pruned.get_parameter(f"{name}.weight" if name else "weight"))
            if 1 - left / width > most + 1e-9:
                raise CompressionError(f"layer {name} would keep {left} of its {width} channels, far fewer than asked")


def _remove_channels(
    model: nn.Module, step: Prune, example: ModelInputs, kept: list[nn.Module], heads: dict[nn.Module, int]
) -> list[Cut]:
    """Remove the weakest channels of every layer except `kept`. Returns one `Cut` for each set of coupled layers.

    torch-pruning finds coupled layers; its own pruner is not used, as it rounds numbers per block like numbers of all.
    """
    import torch_pruning

    names = {module: name for name, module in model.named_modules()}
    # Layers are traced by autograd's records, so all weights must require gradients.
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters(remove_duplicate=False)}
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.requires_grad or parameter.is_floating_point())
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unwrapped parameters detected")  # and treated as we want: last dimension
        with GluInParts():
            graph = torch_pruning.DependencyGraph().build_dependency(model, example, output_transform=tensors)
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    found = graph.get_all_groups(ignored_layers=kept, root_module_types=list(ROOTS))
    groups = [(names[group[0].dep.layer], _as_read(graph, group, heads)) for group in found]
    # All are rated before any is pruned: layers that have lost inputs would look weaker, or depthwise.
    judged = [(layer, group, importance(group), _blocks(graph, group, heads)) for layer, group in groups]
    cuts: list[Cut] = []
    judged = [each for each in judged if each[2] is not None]
    for layer, group, scores, blocks in judged:
        choice = _choose(graph, group, scores, blocks, step)
        if choice.lost:
            smaller = graph.get_pruning_group(group[0].dep.layer, group[0].dep.pruning_fn, choice.lost)
            expected = outputs_without(model, example, graph, smaller) if choice.coupled else None
            smaller.prune()
            if expected is not None and differ(expected, model(*example)):
                raise CompressionError(f"torch-pruning does not follow which channels of layer {layer} go together")
        cuts.append(Cut(layer, len(scores), len(scores) - len(choice.lost), choice.multiple))
    for (layer, group, *_), cut in zip(judged, cuts, strict=True):
        if (left := _width(graph, group)) != cut.kept:
            raise CompressionError(f"layer {layer} would keep {left} of its {cut.width} channels, not {cut.kept}")
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(trained[name])
    return cuts[::-1]  # torch-pruning goes from the outputs to the inputs


def _choose(graph: Any, group: Any, scores: Tensor, blocks: int, step: Prune) -> ChannelChoice:
    """The weakest channels of a group of layers; channels that must go together are chosen together."""

    def smaller(channels: list[int]) -> Any:
        return graph.get_pruning_group(group[0].dep.layer, group[0].dep.pruning_fn, channels)

    def together(channels: list[int]) -> list[int]:
        return sorted(map(int, smaller(channels)[0].idxs)) if channels else []

    width = len(scores)
    single = block_places(width, blocks)
    lost, rounded = weakest(scores, single, _ratio(width, step, blocks)), math.lcm(step.round_to, blocks)
    alone = together(lost) == lost
    if not alone:
        if (units := coupled(single, together)) is None:
            return ChannelChoice([], width)
        rounded = multiple(step.round_to, blocks, units)
        lost = weakest(scores, units, _ratio(width, step, rounded))
    return ChannelChoice(lost if lost and graph.check_pruning_group(smaller(lost)) else [], rounded, coupled=not alone)


def _width(graph: Any, group: Any) -> int:
    """The current number of channels of a group's first layer, in the group's own count."""
    dep = group[0].dep
    count = graph.get_out_channels if graph.is_out_channel_pruning_fn(dep.handler) else graph.get_in_channels
    return int(count(dep.layer))


def _as_read(graph: Any, group: Any, heads: dict[nn.Module, int]) -> Any:
    """The same channels as counted by a layer that reads them: one for a query, key and value made by one layer."""
    if not any(
        isinstance(each.dep.layer, ROOTS)
        and each.dep.layer in heads
        and graph.is_out_channel_pruning_fn(each.dep.handler)
        for each in group
    ):
        return group
    for dep, channels in reversed(group.items):
        if isinstance(dep.layer, ROOTS) and graph.is_in_channel_pruning_fn(dep.handler):
            return graph.get_pruning_group(dep.layer, dep.handler, channels)
    raise CompressionError("no layer reads the outcome of the attention")


def _blocks(graph: Any, group: Any, heads: dict[nn.Module, int]) -> int:
    """The number of blocks that must lose the same number of channels: groups of norms and convolutions, or heads."""
    counts = [1]
    for dep, _ in group:
        match dep.layer:
            case nn.GroupNorm(num_groups=count):
                counts.append(count)
            case nn.modules.conv._ConvNd(groups=count, out_channels=width) if count < width:  # not depthwise
                counts.append(count)
            case layer if graph.is_out_channel_pruning_fn(dep.handler):
                counts.append(heads.get(layer, 1))
    return math.lcm(*counts)


def _ratio(width: int, step: Prune, blocks: int = 1) -> Fraction:
    """The share to remove, so that the nearest multiple of `round_to` and of `blocks` remains, at least one
    multiple.
    """
    multiple = math.lcm(step.round_to, blocks)
    kept = max(1, round(width * (1 - step.ratio) / multiple)) * multiple
    return Fraction(max(0, width - kept), width)


def _notes(cuts: list[Cut], step: Prune) -> Iterator[str]:
    """Warnings for channels that cannot be removed one by one."""
    whole = [
        f"{cut.layer} ({cut.width} channels in multiples of {cut.multiple})" for cut in cuts if cut.kept == cut.width
    ]
    if whole:
        more = f" and {len(whole) - 4} more" if len(whole) > 4 else ""
        yield f"prune {step.ratio:g} left whole {', '.join(whole[:4])}{more}"
    if cuts:
        removed = 1 - sum(cut.kept for cut in cuts) / sum(cut.width for cut in cuts)
        if abs(removed - step.ratio) > CLEARLY_DIFFERENT:
            most = max(cut.multiple for cut in cuts)
            yield f"prune {step.ratio:g} removed {removed:.0%} of the channels, which go in multiples of up to {most}"


def _recurrent(model: nn.Module) -> Iterator[str]:
    layers = [(name, type(layer).__name__) for name, layer in model.named_modules() if isinstance(layer, nn.RNNBase)]
    if layers:
        yield f"recurrent layers are not pruned: {', '.join(f'{name} ({kind})' for name, kind in layers)}"


def _tie_again(model: nn.Module, pruned: nn.Module) -> None:
    """Share parameters again that are shared in `model`. Raises if they no longer have the same values."""
    shared: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        shared.setdefault(parameter, []).append(name)
    for first, *others in shared.values():
        weight = pruned.get_parameter(first)
        for other in others:
            (one, _, _), (layer, _, name) = first.rpartition("."), other.rpartition(".")
            if not torch.equal(weight, pruned.get_parameter(other)):
                raise CompressionError(
                    f"layers {one} and {layer} share a weight, and would lose different channels of it"
                )
            setattr(pruned.get_submodule(layer), name, weight)


def _check_forward(model: nn.Module, pruned: nn.Module, example: ModelInputs) -> None:
    """Run both on one row and on two, and in training mode. Raises if layers do not fit, or if an output's shape
    changed.

    Copies run in training mode, to keep running statistics; this check is skipped if the original model cannot do it.
    """
    with torch.no_grad():
        for rows in (1, 2):
            inputs = tuple(value[:rows] for value in example)
            expected = _shapes(model(*inputs))
            try:
                got = _shapes(pruned(*inputs))
            except Exception as error:
                raise CompressionError(f"the narrowed model does not run ({kind_and_line(error)})") from error
            _compare(expected, got)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        try:
            expected = _shapes(copy_of(model).train()(*example))
        except Exception:
            return
        try:
            got = _shapes(copy_of(pruned).train()(*example))
        except Exception as error:
            raise CompressionError(f"the narrowed model does not run in training ({kind_and_line(error)})") from error
        _compare(expected, got)


def _compare(expected: list[tuple[int, ...]], got: list[tuple[int, ...]]) -> None:
    if expected != got:
        before, after = (", ".join(map(str, shapes)) for shapes in (expected, got))
        raise CompressionError(f"the output had shape {before} and now has {after}")


def _shapes(output: Any) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors(output)]
