"""Completes a model after `build_model`: shapes and buffers that depend on a first batch, buffers in their own memory.

All weights must exist before they are passed to an optimiser, exchanged between workers, or loaded from a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from trainables.config.training import Precision
from trainables.tasks.base import Task
from trainables.training.evaluate import autocast, in_eval_mode
from trainables.training.gradient_noise import overlaps_itself

if TYPE_CHECKING:
    from trainables.data.table import Table


def complete(model: nn.Module, task: Task, table: Table, device: torch.device, precision: Precision) -> None:
    """Run the first row of `table` through `model`, which is on `device`, in eval mode; give its buffers own memory.

    So the weights of `LazyLinear` get their shape, and what is registered in the first `forward` (a table of positions,
    as long as the inputs) is there. A buffer that was expanded, as by `meshgrid`, has several elements in one place in
    memory: nothing could be loaded into it, and no worker could receive it.
    """
    batch = {name: column.to(device) for name, column in table.gather(np.arange(1)).items()}
    with in_eval_mode(model), torch.no_grad(), autocast(precision, device):
        task.forward(model, batch)
    dense: dict[int, tuple[Tensor, Tensor]] = {}  # by the old one's id; it is kept, so that no other takes its id
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and overlaps_itself(buffer):
                module._buffers[name] = dense.setdefault(id(buffer), (buffer, buffer.contiguous()))[1]
