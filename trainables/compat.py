"""All private names of torch that this package uses: their purpose, and what breaks without them.

A test checks each for its purpose, so that a new torch without it is noticed at once. Public functions are used
wherever torch has them. Ray's private names are in `trainables.worker.compat`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._dynamo import OptimizedModule as OptimizedModule
from torch._inductor import config as _compiler_config
from torch._ops import OpOverload as OpOverload
from torch._ops import _OpNamespace
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._config_module import ConfigModule as ConfigModule
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode
from torch.utils._pytree import SUPPORTED_NODES as SUPPORTED_NODES
from torch.utils._pytree import register_pytree_node as register_pytree_node
from torch.utils._pytree import tree_leaves as tree_leaves
from torch.utils._pytree import tree_map_only as tree_map_only
from torch.utils._sympy import functions as _sympy_functions

compiler_config: Any = _compiler_config
"""The settings of torch.compile's code generator. Imported with this module, before any trial can change one."""

ArchiveReader: Any = torch._C.PyTorchFileReader
"""Reads members of a `.pt2` file as torch.export.load does, so that the checked bytes are those that are loaded."""

BatchNorm = _BatchNorm
"""The base class of every batch normalisation, in any number of dimensions, synchronised or not."""

OperatorNamespace: Any = _OpNamespace
"""The type of `torch.ops.aten`; distinguishes registered operators from attributes of a module."""

SYMPY_FUNCTIONS = frozenset(_sympy_functions.__all__)
"""The functions that an exported model's sizes and guards may contain."""

F_GLU: Any = torch._C._nn.glu
"""The function that `F.glu` calls under a TorchFunctionMode."""


def load_exported_programs(path: Path) -> dict[str, Any]:
    """The programs of a `.pt2` file. torch.export.load would also try older formats, which are not checked."""
    from torch.export.pt2_archive._package import load_pt2

    return load_pt2(path).exported_programs


def norms(tensors: list[Tensor] | tuple[Tensor, ...], dtype: torch.dtype | None = None) -> list[Tensor]:
    """The 2-norm of each tensor, in one kernel launch for all. `dtype`: type of the sums and the results."""
    found = torch._foreach_norm(tensors) if dtype is None else torch._foreach_norm(tensors, 2, dtype)
    return list(found)


def divide_all(tensors: Sequence[Tensor], by: Tensor | float) -> None:
    """Divide each tensor in place, in one kernel launch for all."""
    torch._foreach_div_(tensors, by)  # type: ignore[call-overload]


def lerp_all(tensors: Sequence[Tensor], towards: Sequence[Tensor], weight: float) -> None:
    """Move each in place by `weight` of the way to its counterpart, in one launch for all of them."""
    torch._foreach_lerp_(tensors, towards, weight)  # type: ignore[call-overload]


def default_device() -> torch.device | None:
    """The default device that was set; None if none was. torch.get_default_device gives "cpu" in both cases, but a
    device that was set affects every call that creates a tensor.
    """
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else context.device


def is_multithreading_enabled() -> bool:
    """Whether autograd uses its own threads; torch.autograd.set_multithreading_enabled sets it."""
    return bool(torch._C._is_multithreading_enabled())


def is_nnpack_enabled() -> bool:
    """Whether NNPACK is enabled; torch.backends.nnpack.set_flags sets it."""
    return bool(torch._C._get_nnpack_enabled())


def give_back_pinned_memory() -> None:
    """Return unused pinned memory, which batches use on their way to a GPU, to the system."""
    torch._C._host_emptyCache()


def config_modules(modules: dict[str, ModuleType]) -> dict[str, ConfigModule]:
    """The modules that hold settings of torch's compiler."""
    return {name: module for name, module in modules.items() if isinstance(module, ConfigModule)}
