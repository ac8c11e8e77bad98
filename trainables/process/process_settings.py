"""Every global setting of Python, NumPy and torch that a trial may change: how to read it, and how to restore it.

Not covered: changes that a trial makes to the code of other modules, and the number of torch's inter-op threads, which
torch allows to set only once.
"""

from __future__ import annotations

import decimal
import gc
import locale
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import torch
from torch.backends import cudnn, mkldnn, opt_einsum, quantized
from torch.nn.modules import module as nn_module
from torch.utils import deterministic

from trainables.compat import (
    ConfigModule,
    config_modules,
    default_device,
    is_multithreading_enabled,
    is_nnpack_enabled,
)

matmul = torch.backends.cuda.matmul
sdp = torch.backends.cuda

# General settings first, as torch applies them to the specific ones.
CUDNN: Any = cudnn  # attributes are created at import, where no type checker sees them
MKLDNN: Any = mkldnn
FP32_PRECISIONS: list[Any] = [
    torch.backends,
    *(CUDNN, matmul, CUDNN.conv, CUDNN.rnn),
    *(MKLDNN, MKLDNN.matmul, MKLDNN.conv, MKLDNN.rnn),
]


def _read_fp32_precision() -> list[str]:
    return [settings.fp32_precision for settings in FP32_PRECISIONS]


def _write_fp32_precision(values: list[str]) -> None:
    """Write only settings that differ, because a specific setting that was written never follows the general
    one again.
    """
    for settings, value in zip(FP32_PRECISIONS, values, strict=True):
        if settings.fp32_precision != value:
            settings.fp32_precision = value


def _read_older_fp32_precision() -> tuple[str, bool | None]:
    """The switches that came before; the second has no word for some states of the newer ones, and then raises."""
    try:
        return torch.get_float32_matmul_precision(), bool(cudnn.allow_tf32)
    except RuntimeError:
        return torch.get_float32_matmul_precision(), None


def _write_older_fp32_precision(value: tuple[str, bool | None]) -> None:
    matmul_now, cudnn_now = _read_older_fp32_precision()
    if matmul_now != value[0]:
        torch.set_float32_matmul_precision(value[0])
    if cudnn_now != value[1] and value[1] is not None:
        cudnn.allow_tf32 = value[1]


def _read_all_fp32_precision() -> tuple[list[str], tuple[str, bool | None]]:
    return _read_fp32_precision(), _read_older_fp32_precision()


def _write_all_fp32_precision(values: tuple[list[str], tuple[str, bool | None]]) -> None:
    _write_fp32_precision(values[0])
    _write_older_fp32_precision(values[1])
    _write_fp32_precision(values[0])  # the older switches turn some of these as well


def _read_flush_denormal() -> bool:
    """Whether denormals are flushed to zero. torch has no getter, so the smallest number is tested."""
    return bool((torch.tensor(5e-324, dtype=torch.float64, device="cpu") * 1.0).item() == 0.0)


def _read_autocast() -> dict[str, tuple[bool, torch.dtype]]:
    return {device: (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in ("cpu", "cuda")}


def _write_autocast(values: dict[str, tuple[bool, torch.dtype]]) -> None:
    for device, (enabled, dtype) in values.items():
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)


def _read_cuda() -> tuple[int, list[torch.Tensor]] | None:
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None  # reading them would initialise CUDA, which takes memory
    return torch.cuda.current_device(), torch.cuda.get_rng_state_all()


def _write_cuda(value: tuple[int, list[torch.Tensor]] | None) -> None:
    if value is not None:
        torch.cuda.set_device(value[0])
        torch.cuda.set_rng_state_all(value[1])


def _module_hooks() -> dict[str, dict[int, Any]]:
    """Hooks that act on every module of every model."""
    return {
        name: hooks
        for name, hooks in vars(nn_module).items()
        if name.startswith("_global_") and isinstance(hooks, dict)
    }


def _write_module_hooks(values: dict[str, dict[int, Any]]) -> None:
    for name, hooks in _module_hooks().items():
        hooks.clear()
        hooks.update(values[name])


def _compiler_settings() -> dict[str, ConfigModule]:
    return config_modules(sys.modules)


def _read_compiler() -> dict[str, dict[str, Any]]:
    return {name: module.get_config_copy() for name, module in _compiler_settings().items()}


def _write_compiler(values: dict[str, dict[str, Any]]) -> None:
    for name, module in _compiler_settings().items():
        now = module.get_config_copy()
        module.load_config({k: v for k, v in values.get(name, {}).items() if k not in now or now[k] != v})


def _write_environ(values: dict[str, str]) -> None:
    for name in os.environ.keys() - values.keys():
        del os.environ[name]
    for name, value in values.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _write_warnings(filters: list[Any]) -> None:
    warnings.resetwarnings()  # also clears the modules' memory of warnings that were shown
    warnings.filters[:] = filters  # type: ignore[index]


def _loggers() -> dict[str, logging.Logger]:
    known = logging.root.manager.loggerDict
    return {"": logging.root} | {name: log for name, log in known.items() if isinstance(log, logging.Logger)}


def _read_logging() -> dict[str, tuple[int, bool, bool, list[logging.Handler]]]:
    return {name: (log.level, log.disabled, log.propagate, log.handlers[:]) for name, log in _loggers().items()}


def _write_logging(values: dict[str, tuple[int, bool, bool, list[logging.Handler]]]) -> None:
    for name, log in _loggers().items():
        if name in values:
            level, log.disabled, log.propagate, log.handlers[:] = values[name]
            if log.level != level:  # setting a level clears the caches of all loggers
                log.setLevel(level)


def _attributes(owner: Any, *names: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    """Settings that are attributes of a module or an object."""

    def read() -> tuple[Any, ...]:
        return tuple(getattr(owner, name) for name in names)

    def write(values: tuple[Any, ...]) -> None:
        for name, value in zip(names, values, strict=True):
            setattr(owner, name, value)

    return read, write


def _write_list(target: list[Any]) -> Callable[[list[Any]], None]:
    def write(values: list[Any]) -> None:
        target[:] = values

    return write


# name -> (read, write), in the order of restoring
PROCESS_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "environment variables": (lambda: dict(os.environ), _write_environ),
    "working directory": (os.getcwd, os.chdir),
    "sys.path": (lambda: sys.path[:], _write_list(sys.path)),
    "sys.argv": (lambda: sys.argv[:], _write_list(sys.argv)),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "locale": (lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value)),
    "warning filters": (lambda: list(warnings.filters), _write_warnings),
    "logging": (_read_logging, _write_logging),
    "logging.disable": (lambda: logging.root.manager.disable, logging.disable),
    "decimal context": (lambda: decimal.getcontext().copy(), lambda value: decimal.setcontext(value.copy())),
    "garbage collector": (gc.isenabled, lambda value: gc.enable() if value else gc.disable()),
    "garbage collector's thresholds": (gc.get_threshold, lambda value: gc.set_threshold(*value)),
    "numpy errors": (np.geterr, lambda value: np.seterr(**value)),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (default_device, torch.set_default_device),
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "anomaly detection": (
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda value: torch.autograd.set_detect_anomaly(*value),
    ),
    "autograd threads": (is_multithreading_enabled, torch.autograd.set_multithreading_enabled),
    "autocast": (_read_autocast, _write_autocast),
    "autocast cache": (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "deterministic algorithms": (
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    "filling of uninitialised memory": _attributes(deterministic, "fill_uninitialized_memory"),
    "flush denormal": (_read_flush_denormal, torch.set_flush_denormal),
    "float32 precision": (_read_all_fp32_precision, _write_all_fp32_precision),
    "cudnn": _attributes(cudnn, "enabled", "benchmark", "benchmark_limit", "deterministic"),
    "cuda matmul": _attributes(
        matmul,
        "allow_fp16_reduced_precision_reduction",
        "allow_bf16_reduced_precision_reduction",
        "allow_fp16_accumulation",
    ),
    "attention: flash": (sdp.flash_sdp_enabled, sdp.enable_flash_sdp),
    "attention: memory-efficient": (sdp.mem_efficient_sdp_enabled, sdp.enable_mem_efficient_sdp),
    "attention: plain": (sdp.math_sdp_enabled, sdp.enable_math_sdp),
    "attention: cudnn": (sdp.cudnn_sdp_enabled, sdp.enable_cudnn_sdp),
    "mkldnn": _attributes(mkldnn, "enabled", "deterministic"),
    "nnpack": (is_nnpack_enabled, torch.backends.nnpack.set_flags),
    "einsum": _attributes(opt_einsum, "enabled", "strategy"),
    "quantized engine": _attributes(quantized, "engine"),
    "conversion of parameters": (
        torch.__future__.get_swap_module_params_on_conversion,
        torch.__future__.set_swap_module_params_on_conversion,
    ),
    "overwriting of parameters": (
        torch.__future__.get_overwrite_module_params_on_conversion,
        torch.__future__.set_overwrite_module_params_on_conversion,
    ),
    "module hooks": (lambda: {name: copy(hooks) for name, hooks in _module_hooks().items()}, _write_module_hooks),
    "compiler": (_read_compiler, _write_compiler),
    # Last, so that no other restoration draws random numbers afterwards.
    "python random": (random.getstate, random.setstate),
    "numpy random": (np.random.get_state, np.random.set_state),
    "torch random": (torch.get_rng_state, torch.set_rng_state),
    "cuda device and random": (_read_cuda, _write_cuda),
}
