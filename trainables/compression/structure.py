"""The roles of a model's layers, derived from its exported program."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Node

from trainables.compat import OpOverload
from trainables.measure.artifact import ArtifactError, ModelInputs, copy_of, trace

LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)
ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
PRODUCTS = (torch.ops.aten.matmul.default, torch.ops.aten.bmm.default, torch.ops.aten.einsum.default)
# Operators that split a layer's channels at fixed positions, or move them.
REARRANGING = {
    torch.ops.aten.slice,
    torch.ops.aten.split,
    torch.ops.aten.split_with_sizes,
    torch.ops.aten.chunk,
    torch.ops.aten.narrow,
    torch.ops.aten.select,
    torch.ops.aten.index_select,
    torch.ops.aten.unbind,
    torch.ops.aten.unflatten,
    torch.ops.aten.glu,
    torch.ops.aten.pixel_shuffle,
    torch.ops.aten.pixel_unshuffle,
    torch.ops.aten.channel_shuffle,
    torch.ops.aten.im2col,
    torch.ops.aten.col2im,
    torch.ops.aten.roll,
    torch.ops.aten.flip,
}
SHAPE_KEEPING = {
    torch.ops.aten.relu.default,
    torch.ops.aten.relu_.default,
    torch.ops.aten.gelu.default,
    torch.ops.aten.silu.default,
    torch.ops.aten.silu_.default,
    torch.ops.aten.tanh.default,
    torch.ops.aten.sigmoid.default,
    torch.ops.aten.elu.default,
    torch.ops.aten.leaky_relu.default,
    torch.ops.aten.hardtanh.default,
    torch.ops.aten.dropout.default,
}


class Structure:
    """The structure of one model in eval or training mode. Raises ArtifactError if torch.export cannot follow it."""

    def __init__(self, model: nn.Module, example: ModelInputs, training: bool = False) -> None:
        self._model, self._example = model, example
        self._program: ExportedProgram = trace(copy_of(model).cpu().train(training), example)
        self._weights = self._program.graph_signature.inputs_to_parameters

    @cached_property
    def outputs(self) -> list[nn.Module]:
        """The layers that feed the model's output without another layer in between; their outputs must keep
        their width.
        """
        (output,) = (node for node in self._program.graph.nodes if node.op == "output")
        return self._feeding(output.all_input_nodes)

    @cached_property
    def attention_heads(self) -> dict[nn.Module, int]:
        """The layers that make the operands of `scaled_dot_product_attention`, with their numbers of heads.

        The operands have shape [rows, heads, tokens, features of a head]. A MultiheadAttention knows its heads itself.
        """
        heads: dict[nn.Module, int] = {layer: layer.num_heads for layer in self._attentions}
        for node in self._program.graph.nodes:
            if node.target is ATTENTION:
                for operand in node.args[:3]:
                    if operand.meta["val"].ndim == 4:
                        heads |= {layer: int(operand.meta["val"].shape[1]) for layer in self._feeding([operand])}
        return heads

    @cached_property
    def multiplied(self) -> list[nn.Module]:
        """The layers whose outputs are multiplied with each other, as in attention: their channels have meaning."""
        products = [node for node in self._program.graph.nodes if node.target in (ATTENTION, *PRODUCTS)]
        operands = (operand for node in products for operand in node.all_input_nodes)
        return [*self._attentions, *self._feeding(operands)]

    @cached_property
    def rearranged(self) -> list[nn.Module]:
        """The layers whose outputs are split, reshaped or shuffled, so that fewer channels may not fit."""
        return self._feeding(
            source
            for node in self._program.graph.nodes
            if getattr(node.target, "overloadpacket", None) in REARRANGING
            for source in node.all_input_nodes
        )

    @cached_property
    def feeding_training(self) -> list[nn.Module]:
        """The layers that feed layers which run in training only; the program in eval mode does not show these
        readers.
        """
        weights = [node for node in self._program.graph.nodes if node.name in self._weights]
        unused = set(self._model.parameters()) - {self._weight(node) for node in weights if node.users}
        if not unused:
            return []
        try:
            training = Structure(self._model, self._example, training=True)
        except ArtifactError:  # then the check that runs the model will show it
            return []
        return training._feeding_users_of(unused)

    @cached_property
    def shared(self) -> list[nn.Module]:
        """The layers that share a weight with another, and those that feed them: one weight, one choice of channels."""
        users: dict[nn.Parameter, list[nn.Module]] = {}
        for module in self._model.modules():
            for parameter in module.parameters(recurse=False):
                users.setdefault(parameter, []).append(module)
        shared = {parameter: modules for parameter, modules in users.items() if len(modules) > 1}
        return [*itertools.chain(*shared.values()), *self._feeding_users_of(shared)]

    @cached_property
    def recurrent(self) -> list[nn.Module]:
        """The recurrent layers, and those that feed them: torch-pruning can prune neither."""
        layers = [layer for layer in self.layers if isinstance(layer, nn.RNNBase)]
        return [*layers, *self._feeding_users_of({weight for layer in layers for weight in layer.parameters()})]

    @cached_property
    def hidden(self) -> list[nn.Module]:
        """Linear layers whose output goes through element-wise functions into Linear layers, and nowhere else."""
        return [
            layer
            for node in self._program.graph.nodes
            if node.target is torch.ops.aten.linear.default and self._goes_to_linear_only(node)
            for layer in self._owners(node)
        ]

    @property
    def layers(self) -> list[nn.Module]:
        return [module for module in self._model.modules() if isinstance(module, LAYERS)]

    @property
    def _attentions(self) -> list[nn.MultiheadAttention]:
        return [module for module in self._model.modules() if isinstance(module, nn.MultiheadAttention)]

    def _feeding_users_of(self, parameters: Collection[nn.Parameter]) -> list[nn.Module]:
        nodes = self._program.graph.nodes
        weights = [node for node in nodes if node.name in self._weights and self._weight(node) in parameters]
        return self._feeding(source for node in weights for user in node.users for source in user.all_input_nodes)

    def _weight(self, node: Node) -> nn.Parameter:
        return self._model.get_parameter(self._weights[node.name])

    def _goes_to_linear_only(self, node: Node) -> bool:
        return bool(node.users) and all(
            (user.target is torch.ops.aten.linear.default and user.args[0] is node)
            or (user.target in SHAPE_KEEPING and self._goes_to_linear_only(user))
            for user in node.users
        )

    def _feeding(self, nodes: Iterable[Node]) -> list[nn.Module]:
        """The first layers on every path backwards from `nodes`."""
        found: dict[nn.Module, None] = {}
        seen: set[Node] = set()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if self._has_weight(node):
                found |= dict.fromkeys(self._owners(node))
            else:
                waiting += node.all_input_nodes
        return list(found)

    def _has_weight(self, node: Node) -> bool:
        """Whether the node is a layer, also one written as a function: it multiplies with, or looks up, a parameter."""
        if not isinstance(node.target, OpOverload):
            return False
        named = [argument.name for argument in node.target._schema.arguments]
        weights = [value for name, value in zip(named, node.args, strict=False) if name == "weight"]
        return any(isinstance(w, Node) and w.name in self._weights and w.meta["val"].ndim > 1 for w in weights)

    def _owners(self, node: Node) -> Iterator[nn.Module]:
        """The layers whose weights this node uses; several if they share one weight."""
        weights = [self._weight(source) for source in node.all_input_nodes if source.name in self._weights]
        for layer in self.layers:
            if any(own is weight for own in layer.parameters() for weight in weights):
                yield layer
