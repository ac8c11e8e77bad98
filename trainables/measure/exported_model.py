"""An exported model in the measuring process: eager, compiled, and compiled in bfloat16; and the device to use."""

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
    """One exported model: the module of the file, and its compiled form."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path = path
        self.device = device
        self.eager = load_model(path, device)
        self.compiled = cast(nn.Module, torch.compile(self.eager, dynamic=False))
        self.bfloat16 = cast(nn.Module, torch.compile(UnderAutocast(self.eager, device), dynamic=False))
        self.compile_seconds = 0.0

    def warm_up(self, inputs: ModelInputs) -> None:
        """Compile for inputs of this shape. The first call compiles; its time minus the second's is the compile
        time.
        """
        started = time.perf_counter()
        self.compiled(*inputs)
        synchronize(self.device)
        first = time.perf_counter() - started
        started = time.perf_counter()
        self.compiled(*inputs)
        synchronize(self.device)
        self.compile_seconds += max(0.0, first - (time.perf_counter() - started))


class UnderAutocast(nn.Module):
    """A module that runs in bfloat16 autocast, within the compiled code, so that entering autocast costs nothing."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.module = module
        self.device_type = device.type

    def forward(self, *inputs: Tensor) -> Tensor:
        with torch.autocast(self.device_type, dtype=torch.bfloat16):
            outputs: Tensor = self.module(*inputs)
        return outputs


def resolve_device(measure: MeasureSettings) -> torch.device:
    """The device to measure on; `auto` is CUDA if available. Raises ValueError if CUDA is requested and missing."""
    available = torch.cuda.is_available()
    if measure.device == "cuda" and not available:
        raise ValueError("measure.device is cuda, but this process sees no CUDA device; use cpu or auto")
    return torch.device("cuda" if available and measure.device != "cpu" else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device supports bfloat16. Emulated bfloat16 is ten times slower, so it is not measured."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def call(run: Callable[..., object], inputs: ModelInputs, device: torch.device) -> Callable[[], object]:
    """A call that returns when the device has finished."""
    if device.type == "cpu":
        return lambda: run(*inputs)

    def run_and_wait() -> None:
        run(*inputs)
        torch.cuda.synchronize(device)

    return run_and_wait


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
