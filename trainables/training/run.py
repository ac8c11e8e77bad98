"""A model in training: everything that its optimiser steps need, built once, for the training loop and for the probe.

    effective batch = micro_batch_size x accumulation_steps x num_workers; a growing batch has more accumulation steps
gradient        = the mean over all items of the effective batch, exactly, however it is divided
gradient norm   = before clipping, after unscaling; taken at every eighth step, and with clipping at every step
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from trainables.config.batch_schedule import rate_factor
from trainables.config.training import ClassBalanced, Training, UniformSampling
from trainables.config.trial import ProbeConfig
from trainables.config.warmup import with_warmup_share
from trainables.data.balance import BalancedRows
from trainables.data.buckets import Buckets
from trainables.data.order import row_order
from trainables.data.shards import Shard
from trainables.distributed.worker_context import WorkerContext
from trainables.process.heartbeat import beat
from trainables.process.memory import claim_workspaces
from trainables.tasks.base import Task
from trainables.training.budget_clock import StepBlock
from trainables.training.checkpoint import TrainingState
from trainables.training.data_parallel import ItemLosses, task_objective
from trainables.training.gradient_noise import GradientNoise
from trainables.training.local_sgd import ReplicaSync
from trainables.training.micro_batches import Reordered, RowOrder, micro_batches_of_steps
from trainables.training.model_building import complete
from trainables.training.optimizer import build_optimizer
from trainables.training.parameter_groups import rate_groups
from trainables.training.schedule import learning_rate_factor
from trainables.training.step import OptimizerStep
from trainables.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from trainables.data.table import Table
    from trainables.tasks.task_data import TaskData

NORM_EVERY = 8  # steps between two norms of the gradient: on a small model one costs a twentieth of a step


@dataclass
class TrainingRun:
    """One training, on one of its workers. The caller decides how many steps to take, and what happens between them."""

    model: nn.Module
    task: Task
    data: TaskData
    training: Training
    worker: WorkerContext
    rows: RowOrder  # which training row of this worker comes when
    update: OptimizerStep
    sync: ReplicaSync
    state: TrainingState
    noise: GradientNoise | None

    @classmethod
    def build(
        cls,
        model: nn.Module,
        task: Task,
        data: TaskData,
        training: Training,
        worker: WorkerContext,
        *,
        objective: ItemLosses | None = None,
        noise: GradientNoise | None = None,
    ) -> TrainingRun:
        """Set `model` up for its first step, in place. `objective` and `noise` are those of `loop.train`.

        Raises ValueError if the group does not fit the configuration.
        """
        check_place(training, worker)
        if task.skips_parameters and training.sync_every_steps is not None and worker.world_size > 1:
            # An optimiser makes the moments of a parameter with its first gradient: workers would have those of others.
            raise ValueError("sync_every_steps cannot be used with a task that skips_parameters; leave one of them out")
        claim_workspaces(worker.device)
        model.to(worker.device).train()
        complete(model, task, data.train, worker.device, training.precision)
        groups = rate_groups(model, task, training.no_decay, training.layer_decay)
        optimizer = build_optimizer(training.optimizer, model, training.learning_rate, groups)
        alone = worker if training.sync_every_steps is None else replace(worker, rank=0, world_size=1)
        objective = objective or task_objective(task)
        update = OptimizerStep(model, optimizer, objective, training, alone, skips_parameters=task.skips_parameters)
        shard = Shard(data.train.n_rows, worker.rank, worker.world_size, training.sharding, training.seed)
        return cls(
            model=model,
            task=task,
            data=data,
            training=training,
            worker=worker,
            rows=_in_order(shard, data.train, training),
            update=update,
            sync=ReplicaSync(model, optimizer, training, worker),
            state=TrainingState(
                model,
                optimizer,
                update.scaler,
                noise=noise.meter if noise else None,
                average=WeightAverage(model, training.ema) if training.ema else None,
            ),
            noise=noise,
        )

    @property
    def rows_per_step(self) -> int:
        """Rows that this worker takes in one step, at the current size of the batch."""
        return self.training.batch_size // self.training.num_workers * self.state.growth

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return self.update.learning_rate

    def steps(self, block: StepBlock) -> Iterator[tuple[Tensor, int, Tensor | None]]:
        """Take the steps of `block` from where the state is; after each, yield what `OptimizerStep` gives of it.

        The state stays where it is: the caller moves it on when the whole block has turned out well.
        """
        state, training = self.state, self.training
        schedule = with_warmup_share(training, self.data.train.n_rows)
        peak = training.learning_rate * rate_factor(training.batch_schedule, state.growth)
        steps = micro_batches_of_steps(
            self.data.train,
            self.rows,
            state.rows,
            self.rows_per_step,
            block.steps,
            training.micro_batch_size,
            self.worker.device,
        )
        for i, micro_batches in enumerate(steps):
            progress = block.progress + (i + 0.5) * block.progress_per_step
            rate = peak * learning_rate_factor(schedule, progress)
            is_measured = self.noise is not None and self.noise.is_due(state.step + i, state.growth)
            noise = self.noise if is_measured else None
            yield self.update(micro_batches, rate, with_norm=i % NORM_EVERY == 0, noise=noise)
            self.sync.after_step(state.step + i + 1)
            if state.average is not None:
                state.average.after_step()
            beat()

    def before_reading(self) -> None:
        """What is read and kept is one model on all workers."""
        self.sync.before_reading(self.state.step)
        if self.state.average is not None:
            self.state.average.before_reading(self.worker)

    def go_on_with(self, training: Training) -> None:
        """Take the steps to come as `training` has them, which differs from the present one in its batch alone."""
        self.training = training
        self.update.expect(self.rows_per_step)


def check_place(training: Training | ProbeConfig, worker: WorkerContext) -> None:
    """Raises ValueError if the trial cannot run here."""
    if training.num_workers != worker.world_size:
        raise ValueError(f"the trial needs num_workers {training.num_workers}, but the group has {worker.world_size}")
    if training.precision == "float16" and worker.device.type != "cuda":
        raise ValueError("precision float16 needs loss scaling and thus a CUDA device; use bfloat16 or float32 here")


def _in_order(shard: Shard, table: Table, training: Training) -> RowOrder:
    """The rows of a worker as its steps take them; those of unequal length beside others like them.

    Raises DataError for a column that the data does not have.
    """
    rows: RowOrder
    match training.sampling:
        case ClassBalanced() as sampling:
            rows = BalancedRows(shard, table, sampling)
        case UniformSampling():
            rows = Reordered(shard, row_order(training.data_order, table))
    if table.lengths is None:
        return rows
    rows_per_step = training.batch_size // training.num_workers
    return Buckets(rows, table.lengths, shard.n_rows, rows_per_step, training.seed)
