"""What the layers of a model are for, read from its exported program instead of asked from the user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Node

from trainables.artifact import Inputs, export_program

LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.RNNBase)
ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
PRODUCTS = (torch.ops.aten.matmul.default, torch.ops.aten.bmm.default, torch.ops.aten.einsum.default)
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
    """Questions about one model. Raises ArtifactError if torch.export cannot follow it."""

    def __init__(self, model: nn.Module, example: Inputs) -> None:
        self._model = model
        self._program: ExportedProgram = export_program(model, example)
        self._weights = self._program.graph_signature.inputs_to_parameters

    @cached_property
    def outputs(self) -> list[nn.Module]:
        """The layers that feed the model's output with no other layer in between. Their outputs cannot be narrowed."""
        (output,) = (node for node in self._program.graph.nodes if node.op == "output")
        return self._feeding(output.all_input_nodes)

    @cached_property
    def attention_heads(self) -> dict[nn.Module, int]:
        """The layers that make the operands of `scaled_dot_product_attention`, with their numbers of heads.

        The operands have shape [rows, heads, tokens, features of a head].
        """
        heads: dict[nn.Module, int] = {}
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
        return self._feeding(operand for node in products for operand in node.all_input_nodes)

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

    def _goes_to_linear_only(self, node: Node) -> bool:
        return bool(node.users) and all(
            (user.target is torch.ops.aten.linear.default and user.args[0] is node)
            or (user.target in SHAPE_KEEPING and self._goes_to_linear_only(user))
            for user in node.users
        )

    def _feeding(self, nodes: Iterable[Node]) -> list[nn.Module]:
        """The first layers met on every way back from `nodes`."""
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
        """Whether the node multiplies with, or looks up, a parameter: a layer, also one written as a function."""
        if not isinstance(node.target, torch._ops.OpOverload):
            return False
        named = [argument.name for argument in node.target._schema.arguments]
        weights = [value for name, value in zip(named, node.args, strict=False) if name == "weight"]
        return any(isinstance(w, Node) and w.name in self._weights and w.meta["val"].ndim > 1 for w in weights)

    def _owners(self, node: Node) -> Iterator[nn.Module]:
        """The layers whose weights this node uses; several when they share one weight."""
        names = {self._weights[source.name] for source in node.all_input_nodes if source.name in self._weights}
        weights = [self._model.get_parameter(name) for name in names]
        for layer in self.layers:
            if any(own is weight for own in layer.parameters(recurse=False) for weight in weights):
                yield layer
