"""Every name that is private to torch and used here: what for, and what breaks where it is gone.

A test holds each to what it is used for, so a new torch says at once what it has taken away. Where torch has a public
way, that is taken instead. Ray's private names are in `trainables.worker.compat`.
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
"""The settings of torch.compile's code generator. Imported with this module, so before any trial could set one."""

ArchiveReader: Any = torch._C.PyTorchFileReader
"""Reads members of a `.pt2` file, as torch.export.load does: what is checked is what is loaded."""

BatchNorm = _BatchNorm
"""What every batch normalisation derives from, in any number of dimensions, synchronised or not."""

OperatorNamespace: Any = _OpNamespace
"""What `torch.ops.aten` is: tells a registered operator from an attribute of a module."""

SYMPY_FUNCTIONS = frozenset(_sympy_functions.__all__)
"""The functions that may stand in an exported model's sizes and guards."""

F_GLU: Any = torch._C._nn.glu
"""What `F.glu` becomes under a TorchFunctionMode."""


def load_exported_programs(path: Path) -> dict[str, Any]:
    """The programs of a `.pt2` file. torch.export.load would go on to older formats, which are not checked."""
    from torch.export.pt2_archive._package import load_pt2

    return load_pt2(path).exported_programs


def norms(tensors: list[Tensor] | tuple[Tensor, ...], dtype: torch.dtype | None = None) -> list[Tensor]:
    """The 2-norm of each tensor, in one launch for all of them. `dtype`: of the sums and the results."""
    found = torch._foreach_norm(tensors) if dtype is None else torch._foreach_norm(tensors, 2, dtype)
    return list(found)


def divide_all(tensors: Sequence[Tensor], by: Tensor | float) -> None:
    """Divide each in place, in one launch for all of them."""
    torch._foreach_div_(tensors, by)  # type: ignore[call-overload]


def default_device() -> torch.device | None:
    """None is not the same as "cpu", which torch.get_default_device gives: a device that was set takes part in every
    call that makes a tensor.
    """
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else context.device


def is_multithreading_enabled() -> bool:
    """Whether autograd runs on threads of its own; torch.autograd.set_multithreading_enabled sets it."""
    return bool(torch._C._is_multithreading_enabled())


def is_nnpack_enabled() -> bool:
    """torch.backends.nnpack.set_flags sets it."""
    return bool(torch._C._get_nnpack_enabled())


def give_back_pinned_memory() -> None:
    """To the system: pinned memory, through which batches go to a GPU."""
    torch._C._host_emptyCache()


def config_modules(modules: dict[str, ModuleType]) -> dict[str, ConfigModule]:
    """Those modules that hold settings of torch's compiler."""
    return {name: module for name, module in modules.items() if isinstance(module, ConfigModule)}
