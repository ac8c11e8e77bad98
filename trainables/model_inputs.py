"""What a task's `forward` gives to its model: the inputs that an exported model, its calibration and its timing need.

They are not always the columns as they are: a task may scale them, or make floats of bytes, on their way to the model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trainables.artifact import ArtifactError, Inputs
from trainables.tasks.base import Batch, Task


class _Called(Exception):  # noqa: N818 - how `forward` is left, not an error
    def __init__(self, positional: tuple[Any, ...], by_name: dict[str, Any]) -> None:
        self.positional, self.by_name = positional, by_name


def model_inputs(task: Task, model: nn.Module, batch: Batch) -> Inputs:
    """The arguments of the first call of `model` within `task.forward(model, batch)`; the model itself is not run.

    Each of shape [rows, ...]. Of a task that only calls parts of its model, the columns in `task.inputs`.
    Raises ArtifactError where an argument is no tensor, is given by name, or has not as many rows as the others.
    """

    def leave(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        raise _Called(args, kwargs)

    hook = model.register_forward_pre_hook(leave, prepend=True, with_kwargs=True)
    try:
        with torch.no_grad():
            task.forward(model, batch)
    except _Called as call:
        return _checked(type(task).__name__, call)
    finally:
        hook.remove()
    return tuple(batch[name] for name in task.inputs)


def _checked(task: str, call: _Called) -> Inputs:
    if call.by_name:
        given = ", ".join(f"{name}=" for name in call.by_name)
        raise ArtifactError(f"{task}.forward() gives the model {given} by name; exported models take tensors in order")
    for value in call.positional:
        if not isinstance(value, Tensor) or not value.ndim:
            what = "a tensor without rows" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ArtifactError(f"{task}.forward() gives the model {what}; an exported model takes tensors [rows, ...]")
    if len({len(value) for value in call.positional}) > 1:
        shapes = ", ".join(str(list(value.shape)) for value in call.positional)
        raise ArtifactError(f"{task}.forward() gives the model tensors of different numbers of rows: {shapes}")
    return call.positional
