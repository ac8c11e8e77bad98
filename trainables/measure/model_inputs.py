"""The inputs that a task's `forward` gives to its model: export, calibration and timing need them.

They may differ from the columns: a task may scale them, or convert bytes to floats, before it calls the model.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.data.table import Table
from trainables.error_text import first_line
from trainables.measure.artifact import ArtifactError, FreeDims, ModelInputs
from trainables.process.memory import out_of_memory
from trainables.tasks.base import Batch, Task


class _Called(Exception):  # noqa: N818 - ends `forward` early; it is not an error
    def __init__(self, positional: tuple[Any, ...], by_name: dict[str, Any]) -> None:
        self.positional, self.by_name = positional, by_name


def model_inputs(task: Task, model: nn.Module, batch: Batch) -> ModelInputs:
    """The arguments of the first call of `model` within `task.forward(model, batch)`; the model itself is not run.

    Each is of shape [rows, ...]. For a task that only calls parts of its model, the columns in `task.inputs`; parts may
    then run, so the model is in eval mode meanwhile, and the batch is moved to its device. Raises ArtifactError if an
    argument is not a tensor, is passed by name, or has another number of rows than the others, and if the task's
    `forward` fails; an out-of-memory error is raised unchanged.
    """
    weights = next(itertools.chain(model.parameters(), model.buffers()), None)
    here = {name: column if weights is None else column.to(weights.device) for name, column in batch.items()}
    modes = [(module, module.training) for module in model.modules()]

    def leave(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        raise _Called(args, kwargs)

    hook = model.register_forward_pre_hook(leave, prepend=True, with_kwargs=True)
    for module, _ in modes:
        module.training = False  # not eval(), which an exported model does not support
    try:
        with torch.no_grad():
            task.forward(model, here)
    except _Called as call:
        return _checked(type(task).__name__, call)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise ArtifactError(f"{type(task).__name__}.forward() failed: {first_line(error)}") from error
    finally:
        hook.remove()
        for module, mode in modes:
            module.training = mode
    return tuple(here[name] for name in task.inputs)


def free_dims(task: Task, model: nn.Module, table: Table) -> FreeDims:
    """The dimensions of the model's inputs that follow the longest row of a batch; empty where rows have one length.

    Raises what `model_inputs` raises.
    """
    if table.lengths is None:
        return ()
    row = np.array([table.lengths.argmax()])
    batches = [table.gather(row, least_length=table.longest + more) for more in (0, 1)]
    short, long = (model_inputs(task, model, batch) for batch in batches)
    return tuple(
        frozenset(dim for dim in range(1, one.ndim) if one.shape[dim] != other.shape[dim])
        for one, other in zip(short, long, strict=True)
    )


def _checked(task: str, call: _Called) -> ModelInputs:
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
