"""The exported model: one `.pt2` file that runs without the code that defined it, for any number of rows.

What is measured and recommended is this file, reloaded, never the object that was trained.
"""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.passes import move_to_device_pass

Inputs = tuple[Tensor, ...]


class ArtifactError(RuntimeError):
    """A model cannot be exported, or a file is not an exported model."""


def export_model(model: nn.Module, example_inputs: Inputs, path: Path) -> Path:
    """Write `model` in evaluation mode to `path` (atomically; the folder must exist) and return `path`.

    `example_inputs`: the model's positional arguments, each of shape [rows, ...] with the same number of rows. The rows
    become a dynamic dimension, so the file serves every batch size. Only shapes and dtypes matter.
    The model itself is left as it is: its mode, its device, its values.
    Raises ArtifactError if torch.export cannot follow the model, for instance because it branches on data.
    """
    return save_program(export_program(model, example_inputs), path)


def export_program(model: nn.Module, example_inputs: Inputs) -> ExportedProgram:
    """The program of `model` in evaluation mode on the CPU, with a dynamic first dimension shared by all inputs."""
    # A copy: switching modes and devices of the caller's model, even for a moment, would disturb its training.
    model = copy.deepcopy(model).cpu().eval()
    batch = Dim("batch", min=1)
    try:
        return export(
            model, two_rows(example_inputs), dynamic_shapes=tuple({0: batch} for _ in example_inputs), strict=False
        )
    except Exception as error:  # torch.export raises many types; to the user they are one: this model does not export
        raise ArtifactError(
            f"torch.export cannot export {type(model).__name__} with a free number of rows: {first_line(error)}"
        ) from error


def two_rows(inputs: Inputs) -> Inputs:
    """Two rows of each input on the CPU, in memory of their own.

    Of one row, torch would conclude that there is always one; and the file keeps its example inputs, for a view
    with the whole storage behind it.
    """
    return tuple(torch.cat([value[:1], value[-1:]]).detach().cpu().clone() for value in inputs)


def save_program(program: ExportedProgram, path: Path) -> Path:
    """Write an exported program to `path`, atomically."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder) / path.name  # the archive holds its own name, so that must be the final one
        torch.export.save(program, temporary)
        os.replace(temporary, path)
    return path


def load_program(path: Path) -> ExportedProgram:
    """Read a file of `export_model`. Raises ArtifactError if it is none."""
    try:
        return torch.export.load(path)
    except Exception as error:
        raise ArtifactError(f"{path} is not an exported model that this version reads: {first_line(error)}") from error


def load_model(path: Path, device: torch.device | str = "cpu") -> nn.Module:
    """The model of a file as a module on `device`, in evaluation mode. It has no working `train()` and `eval()`.

    Raises ArtifactError if the file is not an exported model.
    """
    program = load_program(path)
    if torch.device(device).type != "cpu":
        program = move_to_device_pass(program, device)
    return program.module()


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something, for a sentence that names the cause."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
