"""Every method works on a copy of the model that it is given."""

from __future__ import annotations

import copy

from torch import nn

from trainables.artifact import first_line
from trainables.compression.errors import CompressionError
from trainables.memory import out_of_memory


def copy_of(model: nn.Module) -> nn.Module:
    """A deep copy. Raises CompressionError if the model has none; a shortage of memory is raised as it is."""
    try:
        return copy.deepcopy(model)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise CompressionError(
            f"{type(model).__name__} cannot be copied, so it cannot be compressed: {first_line(error)}"
        ) from error
