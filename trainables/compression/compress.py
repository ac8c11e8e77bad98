"""Makes a variant: applies one method after another to the parent's model, exports the result and measures the file.

A method is one file here, one class in `config/compression.py`, and one `case` in `apply`.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from trainables.compression.distill import distill
from trainables.compression.errors import CompressionError
from trainables.compression.fine_tune import Context, History, Trained, example_dims, example_inputs, fine_tune
from trainables.compression.prune import prune
from trainables.compression.quantize import Quantized, quantize
from trainables.config.compression import Distill, FineTune, Int8, Prune
from trainables.config.trial import VariantConfig
from trainables.distributed.worker_context import CPU, WorkerContext
from trainables.error_text import first_line
from trainables.estimate import Estimate
from trainables.measure.artifact import (
    ArtifactError,
    ModelInputs,
    copy_of,
    export_model,
    export_program,
    save_program,
)
from trainables.measure.client import MeasureError, measure_in_fresh_process
from trainables.measure.exported_model import resolve_device
from trainables.measure.latency import is_quiet
from trainables.measure.measure import CONTROL_FIGURE, Measurement, MeasureRequest
from trainables.measure.raw_rows import raw_inputs
from trainables.outputs import MODEL, WEIGHTS, cpu_name, summary
from trainables.process.isolation import seed_everything
from trainables.process.memory import says_out_of_memory
from trainables.results import Report, Status, TrialResult
from trainables.seal import DamagedFileError, check_seal, unsealed
from trainables.storage import remove_checkpoint, step_checkpoint_file, trial_file
from trainables.tasks.base import Task
from trainables.tasks.task_data import TaskData
from trainables.training.checkpoint import from_bytes
from trainables.training.errors import Diverged
from trainables.training.model_building import complete

__all__ = ["CompressionError", "compress"]

MOST_CONVERTED = 0.5  # share of the parameters' bytes; if int8 converted less, a warning says so


@dataclass
class CompressedModel:
    """The output of the chain so far: a model, or after int8 an exported program."""

    model: nn.Module
    quantized: Quantized | None = None
    history: History = ()
    warnings: tuple[str, ...] = ()

    def take(self, trained: Trained) -> None:
        self.model, self.history = trained.model, trained.history
        self.warnings += trained.warnings

    def program(self, context: Context, example: ModelInputs) -> ExportedProgram:
        """The program to save and measure. Raises ArtifactError if torch.export cannot export the model."""
        if self.quantized is not None:
            return self.quantized.program
        return export_program(self.model, example, example_dims(context, self.model))


def compress(
    trial: str, config: VariantConfig, task: Task, data: TaskData, worker: WorkerContext
) -> Iterator[Report | TrialResult]:
    """Compress the parent's model, export it, measure the file; yields evaluations, and last the one TrialResult.

    A method that cannot be applied to the model, a loss that is not finite and a measuring process that runs out of
    memory are results (`failed`, `diverged`, `out_of_memory`); every other failure is raised, including running out of
    memory here. Runs on one worker. Raises ValueError if a method follows int8.
    """
    check_chain(config, worker)
    context = Context(task, data, config.training, worker)
    made = CompressedModel(nn.Identity())
    status, reason, details = Status.COMPLETED, None, None
    metrics: dict[str, Estimate] = {}
    environment = {"precision": config.training.precision, "cpu": cpu_name()}
    try:
        check_device(config)
        parent = load_parent(config, context)
        check_export(config, context, parent)
        made.model = copy_of(parent)
        yield from apply(trial, config, context, made)
        measurement = export_and_measure(trial, config, context, parent, made)
        metrics = sizes(parent, made) | measurement.metrics
        environment |= measurement.environment
        made.warnings += variant_warnings(config, metrics)
    except Diverged as error:
        status, reason, made.history = Status.DIVERGED, str(error), error.history
    except MeasureError as error:
        status = Status.OUT_OF_MEMORY if ran_out_of_memory(error) else Status.FAILED
        reason, details = str(error), error.details
    except (CompressionError, ArtifactError) as error:
        status, reason = Status.FAILED, str(error)
    yield TrialResult(
        id=trial,
        config=config,
        status=status,
        reason=reason,
        details=details,
        history=made.history,
        metrics=summary(task, made.history) | metrics,
        environment=environment,
        files={"model": MODEL} if status is Status.COMPLETED else {},
        warnings=made.warnings,
    )
    for number in range(len(config.chain)):  # only now: a kill before the result is stored must not lose the training
        remove_checkpoint(worker.storage, step_checkpoint_file(trial, number))


def check_chain(config: VariantConfig, worker: WorkerContext) -> None:
    """Raises ValueError if the chain cannot be followed or the group is not a single worker."""
    for step in config.chain[:-1]:
        if isinstance(step, Int8):
            raise ValueError("int8 must be the last method of a chain: 8-bit weights cannot be pruned or trained")
    if worker.world_size != 1:
        raise ValueError(f"a variant needs a group of one worker, but this group has {worker.world_size}")


def check_device(config: VariantConfig) -> None:
    """Raises CompressionError, before any training, if the chain cannot be measured on its device."""
    if any(isinstance(step, Int8) for step in config.chain) and resolve_device(config.measure).type != "cpu":
        raise CompressionError("int8 runs on a CPU: `measure: {device: cpu}` measures every variant there")


def check_export(config: VariantConfig, context: Context, parent: nn.Module) -> None:
    """Raises ArtifactError, before any training, if the parent has no exported model."""
    if not context.worker.storage.exists(trial_file(config.parent, MODEL)):
        export_program(parent, example_inputs(context, parent), example_dims(context, parent))


def load_parent(config: VariantConfig, context: Context) -> nn.Module:
    """The parent's trained model, on the CPU. Raises CompressionError if its weights are missing or do not fit."""
    name, storage = trial_file(config.parent, WEIGHTS), context.worker.storage
    if not storage.exists(name):
        raise CompressionError(f"the parent {config.parent} has no stored weights ({name}); run it again")
    seed_everything(config.training.seed, 0, 0)
    model = context.task.build_model()
    complete(model, context.task, context.data.train, CPU, config.training.precision)
    try:
        content = unsealed(storage.read(name), storage.display(name))
        model.load_state_dict(from_bytes(content, torch.device("cpu")))
    except DamagedFileError as error:
        raise CompressionError(_made_anew(config.parent, error)) from error
    except pickle.UnpicklingError as error:
        said = "the parent's state_dict() holds more than tensors and plain values, which is refused for safety"
        raise CompressionError(f"{said}: {first_line(error)}") from error
    except RuntimeError as error:
        raise CompressionError(
            f"the weights of the parent {config.parent} do not fit the task's model: {error}"
        ) from error
    return model


def _made_anew(parent: str, damage: DamagedFileError) -> str:
    return (
        f"{damage}. Remove the folder {trial_file(parent, '').rstrip('/')} of the storage: the same command with "
        "--retry-failed then trains the parent again, and compresses it"
    )


def apply(trial: str, config: VariantConfig, context: Context, made: CompressedModel) -> Generator[Report, None, None]:
    """Apply the chain to `made`; yield the evaluations of its trainings."""
    for number, step in enumerate(config.chain):
        checkpoint = step_checkpoint_file(trial, number)
        match step:
            case FineTune():
                made.take((yield from fine_tune(made.model, step, context, checkpoint, made.history)))
            case Prune():
                pruned = prune(made.model, step, example_inputs(context, made.model.cpu()))
                made.model, made.warnings = pruned.model, made.warnings + pruned.warnings
                made.take((yield from fine_tune(made.model, step.fine_tune, context, checkpoint, made.history)))
            case Distill():
                made.take((yield from distill(made.model, step, context, checkpoint, made.history)))
            case Int8():
                made.quantized = quantize(made.model, step, context)
                made.warnings += made.quantized.warnings


def export_and_measure(
    trial: str, config: VariantConfig, context: Context, parent: nn.Module, made: CompressedModel
) -> Measurement:
    """Store the variant's file, and measure it beside its parent's in a fresh process."""
    worker, example = context.worker, example_inputs(context, parent)
    worker.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=worker.cache) as folder:
        model_file, parent_file = (Path(folder) / whose / MODEL for whose in ("variant", "parent"))  # names take bytes
        for file in (model_file, parent_file):
            file.parent.mkdir()
        save_program(made.program(context, example), model_file, raw_inputs(context.task))
        worker.storage.write(trial_file(trial, MODEL), model_file.read_bytes())
        parents_own = trial_file(config.parent, MODEL)
        if worker.storage.exists(parents_own):
            parent_file = worker.storage.fetch(parents_own, parent_file)
            try:
                check_seal(parent_file, worker.storage.display(parents_own))
            except DamagedFileError as error:
                raise CompressionError(_made_anew(config.parent, error)) from error
        else:
            export_model(parent, example, parent_file, raw_inputs(context.task), example_dims(context, parent))
        if worker.device.type == "cuda":
            torch.cuda.empty_cache()  # the measuring process wants the memory
        return measure_in_fresh_process(
            MeasureRequest(
                task=config.task,
                model=str(model_file),
                parent=str(parent_file),
                measure=config.measure,
                cache=str(worker.cache),
            )
        )


def ran_out_of_memory(error: MeasureError) -> bool:
    """Whether the measuring process ran out of memory: it reported this, or the system killed it."""
    told = f"{error}\n{error.details}"  # an exception of another process arrives only as text
    return error.killed or says_out_of_memory(told)


def sizes(parent: nn.Module, made: CompressedModel) -> dict[str, Estimate]:
    """The figures that can only be counted while the model is still a module."""
    if made.quantized is None:
        converted = Estimate.exact(0.0, "nothing was quantised")
    else:
        note = f"bytes of parameters that {made.quantized.mode} quantisation made 8-bit integers"
        converted = Estimate.exact(made.quantized.converted_fraction, note)
    return {
        "parameters": Estimate.exact(parameters(made.model)),
        "reference_parameters": Estimate.exact(parameters(parent)),
        "converted_fraction": converted,
    }


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def variant_warnings(config: VariantConfig, metrics: dict[str, Estimate]) -> tuple[str, ...]:
    """Warnings: the variant is neither smaller nor, beyond noise, faster than its parent; int8 converted only a part.

    Latencies of rounds whose control was not 1 are not used.
    """
    is_int8 = any(isinstance(step, Int8) for step in config.chain)
    partly = int8_warnings(metrics["converted_fraction"].value) if is_int8 else ()
    size = metrics["artifact_bytes"].value / metrics["reference_artifact_bytes"].value
    ratios = {rows: metrics[f"latency_ratio_batch_{rows}"] for rows in sorted(set(config.measure.batch_sizes))}
    controls = {rows: metrics.get(f"{CONTROL_FIGURE}_ratio_batch_{rows}") for rows in ratios}
    off = {rows: control for rows, control in controls.items() if control is not None and not is_quiet(control)}
    known = [ratio for rows, ratio in ratios.items() if rows not in off]
    if not config.chain or size < 1 or any((ratio.high or ratio.value) < 1 for ratio in known):
        return partly
    if off:
        words = " and ".join(f"{control.value:.2f} at batch {rows}" for rows, control in off.items())
        unknown = (
            f"whether it is faster is unknown, as the control (the parent's latency over itself) was {words}, not 1"
        )
        return (*partly, f"not smaller than its parent ({size:.2f} times its bytes); {unknown}")
    times = " and ".join(f"{ratio.value:.2f}" for ratio in known)
    words = f"{size:.2f} times its bytes, {times} times its latency"
    return (*partly, f"neither smaller than its parent nor, beyond the noise, faster: {words}")


def int8_warnings(converted_fraction: float) -> tuple[str, ...]:
    """Warns where int8 converted but a small part of the model."""
    if converted_fraction >= MOST_CONVERTED:
        return ()
    return (f"int8 converted {100 * converted_fraction:.0f} % of the bytes of the parameters",)
