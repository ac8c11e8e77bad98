"""The training loop of one trial, on every one of its workers.

effective batch = micro_batch_size x accumulation_steps x num_workers, and more of the second where it grows
gradient        = the mean over all items of the effective batch, exactly, however it is divided
BN statistics   = the first worker's: all take them over before every step (DistributedDataParallel's default) and
                  before every reading, so that what is evaluated, kept and given back is one and the same model
gradient norm   = before clipping, after unscaling; taken at every eighth step, and with clipping at every step
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import nn

from trainables.config.batch_schedule import growth_with_noise, rate_factor
from trainables.config.training import Training
from trainables.config.trial import ProbeConfig
from trainables.data.order import row_order
from trainables.data.shards import Shard
from trainables.distributed.worker_context import WorkerContext
from trainables.process.heartbeat import beat
from trainables.process.isolation import seed_everything
from trainables.process.memory import claim_workspaces
from trainables.results import Report
from trainables.tasks.base import Task
from trainables.training.budget_clock import clock_of
from trainables.training.checkpoint import TrainingState
from trainables.training.data_parallel import ItemLosses, task_objective
from trainables.training.evaluate import evaluate_both, evaluation_rows
from trainables.training.gradient_noise import GradientNoise
from trainables.training.local_sgd import average, start_alike
from trainables.training.micro_batches import Reordered, micro_batches_of_steps
from trainables.training.model_building import complete
from trainables.training.optimizer import build_optimizer, learning_rate_factor
from trainables.training.step import OptimizerStep, Readings

if TYPE_CHECKING:
    from trainables.tasks.task_data import TaskData
from trainables.training.errors import Diverged

NORM_EVERY = 8  # steps between two norms of the gradient: on a small model one costs a twentieth of a step


def train(
    model: nn.Module,
    task: Task,
    data: TaskData,
    training: Training,
    worker: WorkerContext,
    *,
    objective: ItemLosses | None = None,
    checkpoint: str | None = None,
    noise: GradientNoise | None = None,
) -> Generator[Report, None, tuple[Report, ...]]:
    """Train `model` in place; yield a reading after each evaluation; return all readings, of earlier processes too.

    `objective(model, batch)` gives the loss of every item, shape [items]; by default it is the task's. `checkpoint`
    names a file in the storage that is written before each yield and resumed from if it exists: the resumed run ends
    with the same bits as one that was not interrupted, unless the budget is in seconds. `noise` measures the gradient
    noise scale on the way; its estimate is in the readings as `noise_scale` where it is resolved.
    Raises Diverged, and ValueError if the budget ends before one step or the place does not fit the configuration.
    """
    check_place(training, worker)
    if task.skips_parameters and training.sync_every_steps is not None and worker.world_size > 1:
        # An optimiser makes the moments of a parameter with its first gradient: workers would have those of others.
        raise ValueError("sync_every_steps cannot be used with a task that skips_parameters; leave one of them out")
    claim_workspaces(worker.device)
    model.to(worker.device).train()
    complete(model, task, data.train, worker.device, training.precision)
    optimizer = build_optimizer(training.optimizer, model.parameters(), training.learning_rate)
    alone = worker if training.sync_every_steps is None else replace(worker, rank=0, world_size=1)
    objective = objective or task_objective(task)
    update = OptimizerStep(model, optimizer, objective, training, alone, skips_parameters=task.skips_parameters)
    state = TrainingState(model, optimizer, update.scaler, noise=noise.meter if noise else None)
    if checkpoint is not None:
        state.resume(worker, checkpoint)
    shard = Shard(data.train.n_rows, worker.rank, worker.world_size, training.sharding, training.seed)
    rows = Reordered(shard, row_order(training.data_order, data.train))
    pace = clock_of(training, data.train.n_rows, worker, state)
    meeting = ReplicaSync(model, optimizer, training, worker)
    evaluated_rows = None  # of a batch, asked for once: after a step, which finds out whether a micro-batch fits

    while not pace.is_over(reports := len(state.history)):
        seed_everything(training.seed, worker.rank, state.step)
        readings = Readings(worker)
        learning_rate = training.learning_rate
        while (block := pace.next_block(reports, state.step, state.seconds)).steps:
            started = time.perf_counter()
            peak = training.learning_rate * rate_factor(training.batch_schedule, state.growth)
            rows_per_step = training.batch_size // training.num_workers * state.growth
            steps = micro_batches_of_steps(
                data.train, rows, state.rows, rows_per_step, block.steps, training.micro_batch_size, worker.device
            )
            for i, micro_batches in enumerate(steps):
                progress = block.progress + (i + 0.5) * block.progress_per_step
                learning_rate = peak * learning_rate_factor(training.schedule, progress)
                measured = noise if noise is not None and noise.is_due(state.step + i, state.growth) else None
                readings.append(*update(micro_batches, learning_rate, with_norm=i % NORM_EVERY == 0, noise=measured))
                meeting.after_step(state.step + i + 1)
                beat()
            state.step += block.steps
            state.rows += block.steps * rows_per_step
            bad = readings.look()  # waits for the device, so the clock below is right
            if noise is not None:
                noise.look()
            state.seconds += time.perf_counter() - started
            if bad is not None:
                raise Diverged(state.step - block.steps + 1 + bad[0], bad[1], tuple(state.history))
        meeting.before_reading(state.step)
        examples = state.rows * training.num_workers
        figures = readings.metrics(examples - _before(state).examples, state.seconds - _before(state).seconds)
        figures |= {"learning_rate": learning_rate} | _noise_scale(noise)
        evaluated_rows = evaluated_rows or evaluation_rows(model, task, data.validation, training, worker)
        both = evaluate_both(model, task, data, training, worker, evaluated_rows)
        figures |= {name: estimate.value for name, estimate in both.items()}
        if not math.isfinite(figures["val_loss"]):
            raise Diverged(state.step, figures["val_loss"], tuple(state.history), in_validation=True)
        report = Report(step=state.step, examples=examples, seconds=state.seconds, metrics=figures)
        state.history.append(report)
        known = noise.meter.estimate().at_least if noise else None
        state.growth = growth_with_noise(training.batch_schedule, state.growth, training.batch_size, known)
        if checkpoint is not None:
            state.save(worker, checkpoint)
        yield report
    return tuple(state.history)


def check_place(training: Training | ProbeConfig, worker: WorkerContext) -> None:
    """Raises ValueError if the trial cannot run here."""
    if training.num_workers != worker.world_size:
        raise ValueError(f"the trial wants num_workers {training.num_workers}, the group has {worker.world_size}")
    if training.precision == "float16" and worker.device.type != "cuda":
        raise ValueError("precision float16 needs loss scaling, so a CUDA device; use bfloat16 or float32 here")


def _noise_scale(noise: GradientNoise | None) -> dict[str, float]:
    found = noise.meter.estimate().examples if noise else None
    return {} if found is None else {"noise_scale": found}


class ReplicaSync:
    """Where workers take over each other's state: batch norm's statistics, or with local SGD the mean of everything."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, training: Training, worker: WorkerContext
    ) -> None:
        self.model, self.optimizer, self.worker = model, optimizer, worker
        self.every = training.sync_every_steps if worker.world_size > 1 else None
        if self.every is not None:
            start_alike(model, worker)

    def after_step(self, step: int) -> None:
        """`step`: how many have been taken."""
        if self.every is not None and step % self.every == 0:
            average(self.model, self.optimizer, self.worker)

    def before_reading(self, step: int) -> None:
        """What is read, kept and given back is one model, the same on all workers."""
        if self.every is None:
            _copy_buffers_from_first(self.model, self.worker)
        elif step % self.every:
            average(self.model, self.optimizer, self.worker)


def _copy_buffers_from_first(model: nn.Module, worker: WorkerContext) -> None:
    if worker.world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def _before(state: TrainingState) -> Report:
    return state.history[-1] if state.history else Report(step=0, examples=0, seconds=0.0, metrics={})
