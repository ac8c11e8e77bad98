"""The outputs of a training: its figures, its weights, its exported model and its machine."""

from __future__ import annotations

import math
import platform
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from trainables.config.training import Precision
from trainables.distributed.worker_context import WorkerContext
from trainables.estimate import Estimate
from trainables.measure.artifact import ArtifactError, export_model
from trainables.measure.model_inputs import free_dims, model_inputs
from trainables.measure.raw_rows import raw_inputs
from trainables.results import Report
from trainables.storage import trial_file
from trainables.tasks.base import Task
from trainables.tasks.task_data import TaskData
from trainables.training.checkpoint import to_bytes
from trainables.training.run import NORM_EVERY

WEIGHTS, MODEL = "weights.pt", "model.pt2"


def summary(task: Task, history: tuple[Report, ...]) -> dict[str, Estimate]:
    """The figures of all evaluations: the best of each metric on validation and training data, and the cost."""
    if not history:
        return {}
    last = history[-1]
    spread = "statistics of the training steps, not an estimate"
    looked_at = f"{spread}, of every {NORM_EVERY}th where nothing clips them"
    norms = [report.metrics["gradient_norm_mean"] for report in history]
    steps = np.diff([0, *(report.step for report in history)])
    seen = np.isfinite(norms)  # loss scaling may have skipped all measured steps before an early evaluation
    mean = np.average(np.asarray(norms)[seen], weights=steps[seen]) if seen.any() else math.nan
    largest = [norm for r in history if math.isfinite(norm := r.metrics["gradient_norm_max"])]
    figures = {
        "steps": Estimate.exact(last.step),
        "examples": Estimate.exact(last.examples),
        "train_seconds": Estimate.exact(last.seconds, "one run, timed"),
        "examples_per_second": Estimate.exact(last.examples / last.seconds, "one run, timed"),
        "gradient_norm_mean": Estimate.exact(float(mean), looked_at),
        "gradient_norm_max": Estimate.exact(max(largest, default=math.nan), looked_at),
    }
    for name, mode in {"loss": "min", **task.metrics}.items():
        for metric in (f"val_{name}", f"train_{name}"):
            readings = [report.metrics[metric] for report in history]
            best = min(readings) if mode == "min" else max(readings)
            note = f"best of {len(readings)} evaluations, so biased towards good by the choice"
            figures[f"best_{metric}"] = Estimate.exact(best, note)
    return figures


@dataclass
class TrialFiles:
    """The files that a trial leaves in the storage, and their sizes."""

    files: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Estimate] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def save_model(model: nn.Module, task: Task, data: TaskData, trial: str, worker: WorkerContext) -> TrialFiles:
    """Write weights and exported model to the storage; only the first worker does this.

    A model that torch cannot export is still a valid baseline, but cannot be compressed.
    """
    if not worker.is_rank_zero:
        return TrialFiles()
    parameters = Estimate.exact(sum(parameter.numel() for parameter in model.parameters()))
    state = model.state_dict().items()  # on the CPU: to be loaded on any machine
    weights = {name: value.cpu() if isinstance(value, torch.Tensor) else value for name, value in state}
    worker.storage.write(trial_file(trial, WEIGHTS), to_bytes(weights))
    validation = data.validation
    example = validation.gather(np.arange(1) if validation.lengths is None else np.array([validation.lengths.argmax()]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL
        try:
            inputs = model_inputs(task, model, example)
            export_model(model, inputs, path, raw_inputs(task), free_dims(task, model, validation))
        except ArtifactError as error:
            return TrialFiles({"weights": WEIGHTS}, {"parameters": parameters}, (str(error),))
        content = path.read_bytes()
    worker.storage.write(trial_file(trial, MODEL), content)
    artifact_bytes = Estimate.exact(len(content))
    return TrialFiles(
        {"weights": WEIGHTS, "model": MODEL}, {"parameters": parameters, "artifact_bytes": artifact_bytes}
    )


def describe_environment(worker: WorkerContext, precision: Precision) -> dict[str, str]:
    """The device, threads and versions for which a trial's figures are valid."""
    on_cuda = worker.device.type == "cuda"
    cudnn: Any = torch.backends.cudnn  # `conv` is made when torch is imported, where no type checker sees it
    return {
        "device": torch.cuda.get_device_name(worker.device) if on_cuda else "cpu",
        "cpu": cpu_name(),
        "threads": str(torch.get_num_threads()),
        "num_workers": str(worker.world_size),
        "precision": precision,
        **({"fp32_convolutions": cudnn.conv.fp32_precision} if on_cuda else {}),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
