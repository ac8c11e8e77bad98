"""8-bit integers for weights and activations, with torchao.

dynamic     weights once, per output channel; activations anew in every call, per row. Linear layers only. No data.
static      weights per output channel; activations with one scale per tensor, calibrated on training rows. Linear and
            Conv2d layers, batch norm folded in.
Both are for the CPU: torchao's static quantiser is x86's, and cuBLAS multiplies 8-bit matrices only of more than 16
rows and of sizes that eight divides, which a batch of 1 is not.

Source: Jacob et al. 2018, doi:10.1109/CVPR.2018.00286.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from trainables.compat import compiler_config
from trainables.compression.errors import CompressionError
from trainables.compression.fine_tune import Context, example_inputs
from trainables.config.compression import Int8
from trainables.error_text import kind_and_line
from trainables.measure.artifact import KnownWarnings, ModelInputs, copy_of, import_torchao, trace
from trainables.measure.model_inputs import model_inputs
from trainables.process.memory import out_of_memory

CALIBRATION_ROWS = 64  # rows of one forward pass
Convolution = nn.modules.conv._ConvNd


@dataclass(frozen=True)
class Quantized:
    """A program with 8-bit weights, on the CPU."""

    program: ExportedProgram
    mode: Literal["dynamic", "static"]
    converted_fraction: float  # share of the parameters' bytes that are 8-bit integers now
    warnings: tuple[str, ...] = ()


def quantize(model: nn.Module, step: Int8, context: Context) -> Quantized:
    """The program of `model` in 8-bit integers, for CPUs. The model is not changed.

    Static quantisation is calibrated on `step.calibration_examples` training rows, drawn with the parent's seed.
    Raises CompressionError if torchao fails or converts nothing, and ArtifactError if the model cannot be copied.
    """
    if context.data.train.lengths is not None:
        raise CompressionError(
            "int8: a task with Ragged() columns has inputs of any length, and what torchao converts takes one; use "
            "prune or distill"
        )
    mode = choose_mode(model, step)
    import_torchao()
    bytes_before = parameter_bytes(model)
    model = copy_of(model).cpu().eval()
    example = example_inputs(context, model)
    try:
        match mode:
            case "dynamic":
                program, converted = _dynamic(model, example)
            case "static":
                program, converted = _static(model, example, _calibration(step.calibration_examples, context, model))
    except Exception as error:  # torchao, and torch.export of its models, raise many types
        if out_of_memory(error):
            raise
        other = "dynamic" if mode == "static" else "static"
        raise CompressionError(
            f"int8 ({mode}): torchao cannot convert this model ({kind_and_line(error)}); try mode: {other}, or prune"
        ) from error
    if converted == 0:
        layers = "Linear" if mode == "dynamic" else "Conv2d or Linear"
        raise CompressionError(
            f"int8 ({mode}) converted nothing: torchao finds no {layers} layer; use prune or distill"
        )
    return Quantized(program, mode, converted / bytes_before, _doubts())


def choose_mode(model: nn.Module, step: Int8) -> Literal["dynamic", "static"]:
    """The requested mode; `auto` is static if the model has any convolution, which dynamic quantisation skips."""
    if step.mode != "auto":
        return step.mode
    return "static" if any(isinstance(module, Convolution) for module in model.modules()) else "dynamic"


def parameter_bytes(model: nn.Module) -> int:
    """Bytes of the model's parameters; a parameter shared by several layers counts once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def _dynamic(model: nn.Module, example: ModelInputs) -> tuple[ExportedProgram, int]:
    """(program, bytes of the float weights that were converted)."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
    from torchao.utils import unwrap_tensor_subclass

    # A weight that other modules share (an embedding) would stay beside its 8-bit copy and make the file larger.
    uses = Counter(
        id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False) for _ in "1"
    )
    layers = [module for module in model.modules() if type(module) is nn.Linear and uses[id(module.weight)] == 1]
    converted = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
    if not layers:
        return trace(model, example), 0
    config = Int8DynamicActivationInt8WeightConfig(
        set_inductor_config=False,  # would change global settings of the compiler
        reduce_range=_overflows(),
    )
    quantize_(model, config, filter_fn=lambda module, _: any(module is layer for layer in layers))
    unwrap_tensor_subclass(model)  # plain tensors: they load without unpickling torchao's classes
    return trace(model, example), converted


def _static(model: nn.Module, example: ModelInputs, calibration: Iterator[ModelInputs]) -> tuple[ExportedProgram, int]:
    """(program, bytes of the float weights that were converted)."""

    pass_before = compiler_config.pre_grad_custom_pass
    with KnownWarnings():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
    compiler_config.pre_grad_custom_pass = pass_before  # the import sets it for the whole process

    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config(reduce_range=_overflows()))
    with KnownWarnings(), torch.no_grad():
        float_program = trace(model, example)
        _tell_calls_apart(float_program)
        prepared = prepare_pt2e(float_program.module(), quantizer)
        for batch in calibration:
            prepared(*batch)
        program = trace(convert_pt2e(prepared), example)
    weights = list(model.parameters())
    bytes_of_one = parameter_bytes(model) / max(1, sum(weight.numel() for weight in weights))
    return program, round(bytes_of_one * (_int8_values(program) - _int8_values(float_program)))


def _int8_values(program: ExportedProgram) -> int:
    """The number of 8-bit integers in the program; the original model may have some, too."""
    return sum(value.numel() for value in program.state_dict.values() if value.dtype == torch.int8)


def _tell_calls_apart(program: ExportedProgram) -> None:
    """Give every call of a module its own name, because the quantiser finds modules by the names of their nodes.

    Otherwise two calls of one module (a residual block with one ReLU, an encoder of two images) would form one pattern
    with two outputs, which it refuses.
    """
    for number, node in enumerate(program.graph.nodes):
        stack = node.meta.get("nn_module_stack")
        if node.op == "call_function" and stack:
            *outer, (key, (name, kind)) = stack.items()
            node.meta["nn_module_stack"] = dict([*outer, (key, (f"{name}@{number}", kind))])


def _overflows() -> bool:
    """Whether sums of 8-bit products overflow 16 bits, as on CPUs without VNNI, where 7 bits are used."""
    from torchao.utils import should_reduce_range

    return bool(should_reduce_range(torch.device("cpu")))


def _doubts() -> tuple[str, ...]:
    if not _overflows():
        return ()
    return (
        "int8: this CPU has no 8-bit dot products (VNNI), so 7 bits are used and little speed is gained; "
        "on a CPU that has them, measure again",
    )


def _calibration(count: int, context: Context, model: nn.Module) -> Iterator[ModelInputs]:
    """Calibration inputs from training rows, as validation and test data must not influence a model."""
    train = context.data.train
    rows = np.random.default_rng(context.training.seed).permutation(train.n_rows)[:count]
    for start in range(0, len(rows), CALIBRATION_ROWS):
        columns = train.gather(rows[start : start + CALIBRATION_ROWS])
        yield model_inputs(context.task, model, columns)
