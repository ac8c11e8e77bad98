"""The exported model: one `.pt2` file that runs without the code that defined it, for any number of rows.

This file, reloaded, is measured and recommended, never the trained object itself.
"""

from __future__ import annotations

import copy
import importlib
import logging
import os
import tempfile
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import InputKind
from torch.export.passes import move_to_device_pass

from trainables.compat import load_exported_programs
from trainables.error_text import first_line
from trainables.errors import ParetuneError
from trainables.measure.archive import PREPARATION_MEMBER, ArchiveError, check_archive, description
from trainables.measure.export_error import why_not_exported
from trainables.measure.plain_outputs import plain_containers
from trainables.process.memory import out_of_memory
from trainables.seal import DamagedFileError, check_seal, seal_file

ModelInputs = tuple[Tensor, ...]
# Of each input: the dimensions beside the rows whose size differs from call to call.
FreeDims = tuple[frozenset[int], ...]

# torch.export's notes on the origin of a node: lines of the user's code, paths on this machine.
ORIGIN = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


class ArtifactError(ParetuneError, RuntimeError):
    """A model cannot be copied or exported, or a file is not an exported model."""


def copy_of(model: nn.Module) -> nn.Module:
    """A deep copy, for operations that must not change the model's mode, device or values.

    Raises ArtifactError if the model cannot be copied; an out-of-memory error is raised unchanged.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise ArtifactError(f"{type(model).__name__} cannot be copied: {first_line(error)}") from error


def export_model(
    model: nn.Module,
    example_inputs: ModelInputs,
    path: Path,
    preparation: str | None = None,
    free_dims: FreeDims = (),
) -> Path:
    """Write `model` in evaluation mode to `path` (atomically; the folder must exist) and return `path`.

    `example_inputs`: the model's positional arguments, each of shape [rows, ...] with the same number of rows. The rows
    become a dynamic dimension, so the file serves every batch size. Only shapes and dtypes matter. `preparation`: how
    raw rows become inputs, as `raw_rows.raw_inputs` gives it, to be kept in the file. `free_dims`: further dimensions
    that are dynamic.
    The model itself is left as it is: its mode, its device, its values.
    Raises ArtifactError if torch.export cannot follow the model, for instance because it branches on data, or if it
    cannot be copied.
    """
    return save_program(export_program(model, example_inputs, free_dims), path, preparation)


def export_program(model: nn.Module, example_inputs: ModelInputs, free_dims: FreeDims = ()) -> ExportedProgram:
    """The program of `model` in evaluation mode on the CPU, with a dynamic first dimension shared by all inputs.

    `free_dims`: those that are dynamic too; empty: none.

    Raises ArtifactError, also for a model that copy.deepcopy cannot copy.
    """
    # A copy, because switching the mode or device of the caller's model would disturb its training.
    return trace(copy_of(model).cpu().eval(), example_inputs, free_dims)


def trace(module: nn.Module, example_inputs: ModelInputs, free_dims: FreeDims = ()) -> ExportedProgram:
    """The program of a module as it stands, which must be on the CPU. Raises ArtifactError."""
    batch = Dim("batch", min=1)
    free = free_dims or (frozenset[int](),) * len(example_inputs)
    shapes = tuple({0: batch, **dict.fromkeys(dims, Dim.DYNAMIC)} for dims in free)
    outputs = module.register_forward_hook(lambda _module, _inputs, outputs: plain_containers(outputs))
    try:
        with KnownWarnings():
            return export(module, two_rows(example_inputs), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch.export raises many types of errors; all mean that the model cannot be exported
        raise ArtifactError(
            f"torch.export cannot export {type(module).__name__} with a free number of rows: {why_not_exported(error)}"
        ) from error
    finally:
        outputs.remove()


def two_rows(inputs: ModelInputs) -> ModelInputs:
    """Copies of two rows of each input on the CPU.

    From one row, torch would conclude that there is always one. The rows are copied, because the file stores its
    example inputs, and for a view it would store the whole tensor.
    """
    return tuple(torch.cat([value[:1], value[-1:]]).detach().cpu().clone() for value in inputs)


def save_program(program: ExportedProgram, path: Path, preparation: str | None = None) -> Path:
    """Write an exported program to `path`, sealed and atomically, without the parts that are not needed to run it.

    These parts are removed in place.
    """
    _tidy(program)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        verbose, packed = Path(folder) / path.name, Path(folder) / "packed"
        beside = {} if preparation is None else {PREPARATION_MEMBER.rpartition("/")[2]: preparation}
        torch.export.save(program, verbose, extra_files=beside)
        _deflate_descriptions(verbose, packed)
        seal_file(packed)
        os.replace(packed, path)
    return path


def _deflate_descriptions(source: Path, target: Path) -> None:
    """Copy an archive with its JSON deflated, which torch reads as well; weights stay as they are, to be mapped.

    The text that describes a small quantised model is larger than its weights, and shrinks to a tenth.
    """
    with zipfile.ZipFile(source) as verbose, zipfile.ZipFile(target, "w") as packed:
        for entry in verbose.infolist():
            how = zipfile.ZIP_DEFLATED if entry.filename.endswith(".json") else zipfile.ZIP_STORED
            packed.writestr(zipfile.ZipInfo(entry.filename), verbose.read(entry), how)


def _tidy(program: ExportedProgram) -> None:
    """Remove origins, type assertions and weights that no node uses.

    Quantised programs still hold the float weights they were made from; assertions on types would forbid autocast.
    """
    for graph_module in program.graph_module.modules():
        if isinstance(graph_module, torch.fx.GraphModule):
            for node in list(graph_module.graph.nodes):
                for key in ORIGIN:
                    node.meta.pop(key, None)
                if node.target is torch.ops.aten._assert_tensor_metadata.default:
                    graph_module.graph.erase_node(node)
    signature = program.graph_signature
    unused = {node.name for node in program.graph.nodes if node.op == "placeholder" and not node.users}
    weights = (InputKind.PARAMETER, InputKind.BUFFER)
    specs = [spec for spec in signature.input_specs if spec.kind in weights and spec.arg.name in unused]
    for spec in specs:
        program.graph.erase_node(next(node for node in program.graph.nodes if node.name == spec.arg.name))
        signature.input_specs.remove(spec)
        program.state_dict.pop(spec.target or "", None)
    program.graph_module.recompile()


def load_program(path: Path) -> ExportedProgram:
    """Read a file of `export_model`.

    Raises ArtifactError if it is not an exported model, is damaged, or contains something that could run code.
    """
    try:
        check_seal(path)
        described = description(path)
        if b"quantized_decomposed" in described or b"torchao" in described:
            import_torchao()  # registers the operators, and takes seconds
        check_archive(path)
        # Not torch.export.load, which would try older, unchecked formats for files that this cannot read.
        program: ExportedProgram = load_exported_programs(path)["model"]
        return program
    except ArchiveError as error:
        raise ArtifactError(f"{path} was not loaded: {error}") from error
    except DamagedFileError as error:
        raise ArtifactError(f"{path} is not an exported model that this version reads: {error.what}") from error
    except Exception as error:
        raise ArtifactError(f"{path} is not an exported model that this version reads: {first_line(error)}") from error


def import_torchao() -> None:
    """Import torchao and its operators, and suppress its log messages about kernels for other GPUs."""
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with KnownWarnings():
            importlib.import_module("torchao.quantization.pt2e")
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class KnownWarnings(warnings.catch_warnings):
    """A context that hides warnings of torch and torchao about their own use of each other's deprecated parts.

    No caller can change these; warnings about the user's code are shown.
    """

    def __enter__(self) -> None:
        super().__enter__()
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=r"(torch|torchao)\.")


def load_model(path: Path, device: torch.device | str = "cpu") -> nn.Module:
    """The model of a file as a module on `device`, in evaluation mode. It has no working `train()` and `eval()`.

    Raises ArtifactError if the file is not an exported model.
    """
    program = load_program(path)
    if torch.device(device).type != "cpu":
        program = move_to_device_pass(program, device)
    return program.module()
