"""The story of one trial, told to every worker of its group: train a baseline, compress it into a variant, or probe."""

from __future__ import annotations

import contextlib
import math
import platform
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trainables.artifact import ArtifactError, export_model
from trainables.checkpoint import to_bytes
from trainables.clean import seed_everything
from trainables.config import AnyTrialConfig, BaselineConfig, ProbeConfig, VariantConfig
from trainables.data import TaskData, open_data
from trainables.evaluate import evaluate_both, evaluation_rows
from trainables.loop import NORM_EVERY, Diverged
from trainables.model_inputs import model_inputs
from trainables.place import Place
from trainables.resplit import Fitting
from trainables.results import Estimate, Report, Status, TrialResult
from trainables.storage import checkpoint_file, remove_checkpoint, trial_file
from trainables.tasks import load_task
from trainables.tasks.base import Task
from trainables.training_config import Precision

WEIGHTS, MODEL = "weights.pt", "model.pt2"


def run_trial(trial: str, config: AnyTrialConfig, place: Place) -> Iterator[Report | TrialResult]:
    """Run one trial, or what is left of it: its readings as they come, and last its one TrialResult.

    A loss that is not finite is a result (`diverged`); whatever else goes wrong is raised, out-of-memory included.
    """
    began = datetime.now(UTC)
    with contextlib.closing(_run(trial, config, place)) as words:
        for word in words:
            if isinstance(word, TrialResult):
                yield word.model_copy(update={"environment": word.environment | where_and_when(began)})
            else:
                yield word


def _run(trial: str, config: AnyTrialConfig, place: Place) -> Generator[Report | TrialResult]:
    task = load_task(config.task.name, config.task.options, ())
    data = open_data(task, place.cache, planned=config.task.data)
    match config:
        case BaselineConfig():
            yield from train_baseline(trial, config, task, data, place)
        case VariantConfig():
            from trainables.compression import compress  # brings in torchao, seconds that baselines need not wait

            yield from compress(trial, config, task, data, place)
        case ProbeConfig():
            from trainables.probe import probe

            environment = describe_environment(place, config.precision)
            yield from probe(trial, config, data, place, environment)


def train_baseline(
    trial: str, config: BaselineConfig, task: Task, data: TaskData, place: Place
) -> Iterator[Report | TrialResult]:
    """Build the model from its seed, train it, judge it, keep it."""
    checkpoint = checkpoint_file(trial)

    def build() -> nn.Module:
        seed_everything(config.training.seed, 0, 0)  # the same on every worker
        return task.build_model()

    fitting = Fitting(build, task, data, config.training, place, checkpoint, measures_noise=True)
    environment = describe_environment(place, config.training.precision)
    status, reason, kept = Status.COMPLETED, "", Kept()
    try:
        history = yield from fitting.train()
    except Diverged as error:
        status, reason, history = (
            Status.DIVERGED,
            f"{error}{_not_finite(data, error) if place.is_first else ''}",
            error.history,
        )
        metrics = summary(task, history)
    else:
        rows = evaluation_rows(fitting.model, task, data.validation, fitting.training, place)
        metrics = summary(task, history) | evaluate_both(fitting.model, task, data, fitting.training, place, rows)
        kept = keep(fitting.model, task, data, trial, place)
        kept.warnings += fitting.noise.warnings(history) if fitting.noise else ()
    if history:
        metrics |= fitting.figures()
    yield TrialResult(
        id=trial,
        config=config,
        status=status,
        reason=reason or None,
        history=history,
        metrics=metrics | kept.figures,
        environment=environment,
        files=kept.files,
        warnings=fitting.warnings() + kept.warnings,
    )
    if place.is_first:  # only now: a kill before the result was taken must not cost the training
        remove_checkpoint(place.storage, checkpoint)


def _not_finite(data: TaskData, error: Diverged) -> str:
    """Why a loss may have become so, where it is the data's doing."""
    split = "validation" if error.in_validation else "train"
    found = (data.validation if error.in_validation else data.train).not_finite()
    if found is None:
        return ""
    return f"; column {found[0]!r} of the {split} data holds NaN or infinity, first in row {found[1]} (counted from 0)"


def summary(task: Task, history: tuple[Report, ...]) -> dict[str, Estimate]:
    """What the readings alone tell: the best of each metric on both kinds of data, and what the training cost."""
    if not history:
        return {}
    last = history[-1]
    spread = "statistics of the training steps, not an estimate"
    looked_at = f"{spread}, of every {NORM_EVERY}th where nothing clips them"
    norms = [report.metrics["gradient_norm_mean"] for report in history]
    steps = np.diff([0, *(report.step for report in history)])
    seen = np.isfinite(norms)  # loss scaling may have skipped all that were looked at before an early reading
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
            note = f"best of {len(readings)} readings, so biased towards good by the choice"
            figures[f"best_{metric}"] = Estimate.exact(best, note)
    return figures


@dataclass
class Kept:
    """What a trial leaves in the storage, and how large it is."""

    files: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Estimate] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def keep(model: nn.Module, task: Task, data: TaskData, trial: str, place: Place) -> Kept:
    """Write weights and exported model to the storage; the first worker's work.

    A model that torch cannot export is a fine baseline all the same: it only cannot be compressed.
    """
    if not place.is_first:
        return Kept()
    parameters = Estimate.exact(sum(parameter.numel() for parameter in model.parameters()))
    state = model.state_dict().items()  # on the CPU: to be loaded on any machine
    weights = {name: value.cpu() if isinstance(value, torch.Tensor) else value for name, value in state}
    place.storage.write(trial_file(trial, WEIGHTS), to_bytes(weights))
    example = data.validation.gather(np.arange(1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL
        try:
            export_model(model, model_inputs(task, model, example), path)
        except ArtifactError as error:
            return Kept({"weights": WEIGHTS}, {"parameters": parameters}, (str(error),))
        content = path.read_bytes()
    place.storage.write(trial_file(trial, MODEL), content)
    artifact_bytes = Estimate.exact(len(content))
    return Kept({"weights": WEIGHTS, "model": MODEL}, {"parameters": parameters, "artifact_bytes": artifact_bytes})


def describe_environment(place: Place, precision: Precision) -> dict[str, str]:
    """What the figures of a trial hold for."""
    on_cuda = place.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(place.device) if on_cuda else "cpu",
        "cpu": cpu_name(),
        "threads": str(torch.get_num_threads()),
        "num_workers": str(place.num_workers),
        "precision": precision,
        **({"fp32_convolutions": torch._C._get_fp32_precision_getter("cuda", "conv")} if on_cuda else {}),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def where_and_when(began: datetime) -> dict[str, str]:
    """Of this process, the first worker's: the machine, by its name and by its boot, which containers on it share."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    times = {"started_at": began, "ended_at": datetime.now(UTC)}
    return {
        "node": platform.node(),
        **({"boot_id": boot.read_text().strip()} if boot.exists() else {}),
        **{name: time.isoformat(timespec="milliseconds") for name, time in times.items()},
    }


def cpu_name() -> str:
    """The processor as it calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
