"""One exported model in the process that measures it: as it is, compiled, and compiled in bfloat16; on which device."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from trainables.config.trial import MeasureSettings
from trainables.measure.artifact import ModelInputs, load_model


class ExportedModel:
    """One exported model: the module of the file, and the same compiled."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path = path
        self.device = device
        self.eager = load_model(path, device)
        self.compiled = cast(nn.Module, torch.compile(self.eager, dynamic=False))
        self.bfloat16 = cast(nn.Module, torch.compile(UnderAutocast(self.eager, device), dynamic=False))
        self.compile_seconds = 0.0

    def warm_up(self, inputs: ModelInputs) -> None:
        """Compile for inputs of this shape. The first call compiles; the second shows what only the first pays."""
        started = time.perf_counter()
        self.compiled(*inputs)
        synchronize(self.device)
        first = time.perf_counter() - started
        started = time.perf_counter()
        self.compiled(*inputs)
        synchronize(self.device)
        self.compile_seconds += max(0.0, first - (time.perf_counter() - started))


class UnderAutocast(nn.Module):
    """A module run in bfloat16 where torch deems it safe. Within the compiled code, so that switching costs nothing."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.module = module
        self.device_type = device.type

    def forward(self, *inputs: Tensor) -> Tensor:
        with torch.autocast(self.device_type, dtype=torch.bfloat16):
            outputs: Tensor = self.module(*inputs)
        return outputs


def resolve_device(measure: MeasureSettings) -> torch.device:
    """The device to measure on; `auto` is CUDA where there is one. Raises ValueError if CUDA is asked for in vain."""
    available = torch.cuda.is_available()
    if measure.device == "cuda" and not available:
        raise ValueError("measure.device is cuda, but this process sees no CUDA device; use cpu or auto")
    return torch.device("cuda" if available and measure.device != "cpu" else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16. Emulated bfloat16 is ten times slower and of no use."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def call(run: Callable[..., object], inputs: ModelInputs, device: torch.device) -> Callable[[], object]:
    """A call that returns when its result is there."""
    if device.type == "cpu":
        return lambda: run(*inputs)

    def run_and_wait() -> None:
        run(*inputs)
        torch.cuda.synchronize(device)

    return run_and_wait


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
