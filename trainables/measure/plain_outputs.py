"""A model's outputs in plain dicts, lists and tuples, so that its file loads without the user's code.

A dataclass, Hugging Face's ModelOutput or any other class is known only where its module is imported. An exported model
returns a plain dict instead; a task that reads its outputs by attribute (`outputs.logits`) or by position
(`outputs[0]`) gets that dict as `Named`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

from trainables.compat import SUPPORTED_NODES, register_pytree_node, tree_leaves


def plain_containers(outputs: Any) -> Any:
    """The same tensors in dicts, lists and tuples. A value of an unknown kind stays as it is.

    Mappings and dataclasses become dicts, named tuples become tuples, and what a library has registered with
    `torch.utils._pytree` a tuple of its parts.
    """
    if outputs is None or isinstance(outputs, Tensor | str | int | float | complex):
        return outputs
    if isinstance(outputs, Mapping):
        return {key: plain_containers(value) for key, value in outputs.items()}
    if is_dataclass(outputs) and not isinstance(outputs, type):
        return {field.name: plain_containers(getattr(outputs, field.name)) for field in fields(outputs)}
    if isinstance(outputs, list | tuple):
        return (list if isinstance(outputs, list) else tuple)(plain_containers(value) for value in outputs)
    if (node := SUPPORTED_NODES.get(type(outputs))) is not None:
        return tuple(plain_containers(part) for part in node.flatten_fn(outputs)[0])
    return outputs


def tensors(outputs: Any) -> list[Tensor]:
    """All tensors of a model's outputs, in the order of `plain_containers`."""
    return [leaf for leaf in tree_leaves(plain_containers(outputs)) if isinstance(leaf, Tensor)]


class Named(dict[Any, Any]):
    """Outputs by the model's names: by key, by attribute, or by position if no key is an integer."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the outputs have no {name!r}; they have {', '.join(map(str, self))}") from None

    def __getitem__(self, key: Any) -> Any:
        return list(self.values())[key] if isinstance(key, int) and key not in self else super().__getitem__(key)


register_pytree_node(
    Named,
    lambda outputs: (list(outputs.values()), list(outputs)),
    lambda parts, names: Named(zip(names, parts, strict=True)),
)


class WithNames(nn.Module):
    """An exported model for use by a task: its dicts become `Named`; other outputs are unchanged."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Any) -> Any:
        return _named(self.model(*inputs))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)


def _named(outputs: Any) -> Any:
    if isinstance(outputs, dict):
        return Named({key: _named(value) for key, value in outputs.items()})
    if isinstance(outputs, list | tuple):
        return type(outputs)(_named(value) for value in outputs)
    return outputs
