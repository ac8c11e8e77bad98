"""The story of one trial, run by every worker of its group: train a baseline, compress it into a variant, or probe."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path

from torch import nn

from trainables.config.training import ClassBalanced, Training
from trainables.config.trial import AnyTrialConfig, BaselineConfig, ProbeConfig, VariantConfig
from trainables.data.balance import weights_in_words
from trainables.data.order import columns_sorted_by
from trainables.distributed.worker_context import WorkerContext
from trainables.outputs import TrialFiles, describe_environment, save_model, summary
from trainables.process.isolation import seed_everything
from trainables.results import Report, Status, TrialResult
from trainables.storage import checkpoint_file, remove_checkpoint
from trainables.tasks.base import Task
from trainables.tasks.load import load_task
from trainables.tasks.task_data import TaskData, open_data
from trainables.training.errors import Diverged
from trainables.training.evaluate import evaluate_both, evaluation_rows
from trainables.training.loop import has_stalled
from trainables.training.micro_batch_fallback import MicroBatchFallback


def run_trial(trial: str, config: AnyTrialConfig, worker: WorkerContext) -> Iterator[Report | TrialResult]:
    """Run or resume one trial: yield its evaluations as they are made, and last its one TrialResult.

    A loss that is not finite is a result (`diverged`); every other failure is raised, including out-of-memory.
    """
    began = datetime.now(UTC)
    with contextlib.closing(_run(trial, config, worker)) as words:
        for word in words:
            if isinstance(word, TrialResult):
                yield word.model_copy(update={"environment": word.environment | where_and_when(began)})
            else:
                yield word


def _run(trial: str, config: AnyTrialConfig, worker: WorkerContext) -> Generator[Report | TrialResult]:
    task = load_task(config.task.name, config.task.options, ())
    sorted_by = () if isinstance(config, ProbeConfig) else columns_sorted_by(config.training.data_order)
    data = open_data(task, worker.cache, planned=config.task.data, also=sorted_by)
    match config:
        case BaselineConfig():
            yield from train_baseline(trial, config, task, data, worker)
        case VariantConfig():
            from trainables.compression.compress import (
                compress,  # imports torchao, which takes seconds that baselines need not wait
            )

            yield from compress(trial, config, task, data, worker)
        case ProbeConfig():
            from trainables.probe.probe import probe

            environment = describe_environment(worker, config.precision)
            yield from probe(trial, config, data, worker, environment)


def train_baseline(
    trial: str, config: BaselineConfig, task: Task, data: TaskData, worker: WorkerContext
) -> Iterator[Report | TrialResult]:
    """Build the model from its seed, train it, evaluate it, save it."""
    checkpoint = checkpoint_file(trial)

    def build() -> nn.Module:
        seed_everything(config.training.seed, 0, 0)  # the same on every worker
        return task.build_model()

    fitting = MicroBatchFallback(build, task, data, config.training, worker, checkpoint, measures_noise=True)
    environment = describe_environment(worker, config.training.precision)
    status, reason, kept = Status.COMPLETED, "", TrialFiles()
    try:
        history = yield from fitting.train()
    except Diverged as error:
        status, reason, history = (
            Status.DIVERGED,
            f"{error}{_not_finite(data, error) if worker.is_rank_zero else ''}",
            error.history,
        )
        metrics = summary(task, history)
    else:
        rows = evaluation_rows(fitting.model, task, data.validation, fitting.training, worker)
        metrics = summary(task, history) | evaluate_both(fitting.model, task, data, fitting.training, worker, rows)
        kept = save_model(fitting.model, task, data, trial, worker)
        kept.warnings += fitting.noise.warnings(history) if fitting.noise else ()
        kept.warnings += recipe_statements(config.training, data, history)
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
    if worker.is_rank_zero:  # only now: a kill before the result was stored must not lose the training
        remove_checkpoint(worker.storage, checkpoint)


def recipe_statements(training: Training, data: TaskData, history: tuple[Report, ...]) -> tuple[str, ...]:
    """What a recipe has made of this training that its configuration does not tell: weights of rows, an early end."""
    said = []
    if isinstance(training.sampling, ClassBalanced):
        said.append(weights_in_words(data.train, training.sampling))
    if has_stalled(history, training.patience):
        said.append(
            f"ended at step {history[-1].step:,}, after {training.patience} evaluations without a better val_loss; its "
            "weights are those of its last evaluation"
        )
    return tuple(said)


def _not_finite(data: TaskData, error: Diverged) -> str:
    """The cause of a loss that is not finite, if it is in the data."""
    split = "validation" if error.in_validation else "train"
    found = (data.validation if error.in_validation else data.train).not_finite()
    if found is None:
        return ""
    return f"; column {found[0]!r} of the {split} data holds NaN or infinity, first in row {found[1]} (counted from 0)"


def where_and_when(began: datetime) -> dict[str, str]:
    """The machine of the first worker's process, by its name and its boot id, which its containers share."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    times = {"started_at": began, "ended_at": datetime.now(UTC)}
    return {
        "node": platform.node(),
        **({"boot_id": boot.read_text().strip()} if boot.exists() else {}),
        **{name: time.isoformat(timespec="milliseconds") for name, time in times.items()},
    }
