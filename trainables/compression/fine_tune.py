"""Training within a chain: budget and learning rate are fractions of the parent's; steps continue the chain's count."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from torch import nn

from trainables.config.batching import part_of
from trainables.config.compression import FineTune
from trainables.config.training import Budget, FixedBatch, Training
from trainables.config.warmup import with_warmup_share
from trainables.distributed.worker_context import WorkerContext
from trainables.measure.artifact import FreeDims, ModelInputs, copy_of
from trainables.measure.model_inputs import free_dims, model_inputs
from trainables.results import Report
from trainables.tasks.base import Task
from trainables.tasks.task_data import TaskData
from trainables.training.data_parallel import ItemLosses
from trainables.training.errors import Diverged
from trainables.training.micro_batch_fallback import MicroBatchFallback

History = tuple[Report, ...]
START = Report(step=0, examples=0, seconds=0.0, metrics={})


@dataclass(frozen=True)
class Context:
    """The inputs of a training within a chain, the same for every method."""

    task: Task
    data: TaskData
    training: Training  # the parent's
    worker: WorkerContext


def example_inputs(context: Context, model: nn.Module) -> ModelInputs:
    """The inputs of `model` for two training rows (the same row twice if there is one). Raises ArtifactError."""
    rows = context.data.train.gather(np.arange(2) % context.data.train.n_rows)
    return model_inputs(context.task, model, rows)


def example_dims(context: Context, model: nn.Module) -> FreeDims:
    """The dimensions of the example inputs that are as long as the longest row of a batch."""
    return free_dims(context.task, model, context.data.train)


@dataclass(frozen=True)
class Trained:
    """The model from a training within a chain, and all evaluations of the chain so far."""

    model: nn.Module
    history: History
    warnings: tuple[str, ...]


def fine_tune(
    model: nn.Module, step: FineTune, context: Context, checkpoint: str, before: History
) -> Generator[Report, None, Trained]:
    """Train a copy of `model`; yield new evaluations; return them after `before`. Raises Diverged and ArtifactError."""
    training = derive(context, step.budget_fraction, step.learning_rate_factor)
    model.cpu()  # copies are made there, so that the device holds only the trained one
    return (yield from train_on(lambda: copy_of(model), context, training, checkpoint, before))


def train_on(
    build: Callable[[], nn.Module],
    context: Context,
    training: Training,
    checkpoint: str,
    before: History,
    objective: ItemLosses | None = None,
) -> Generator[Report, None, Trained]:
    """`MicroBatchFallback.train`; steps, examples and seconds continue from the chain's previous training."""
    origin = before[-1] if before else START

    def shifted(report: Report) -> Report:
        return report.model_copy(
            update={
                "step": origin.step + report.step,
                "examples": origin.examples + report.examples,
                "seconds": origin.seconds + report.seconds,
            }
        )

    fitting = MicroBatchFallback(
        build, context.task, context.data, training, context.worker, checkpoint, objective=objective
    )
    with closing(fitting.train()) as readings:
        while True:
            try:
                report = next(readings)
            except StopIteration as end:
                return Trained(fitting.model, before + tuple(map(shifted, end.value)), fitting.warnings())
            except Diverged as error:
                history = before + tuple(map(shifted, error.history))
                raise Diverged(origin.step + error.step, error.loss, history) from error
            yield shifted(report)


def derive(context: Context, budget_fraction: float, learning_rate_factor: float) -> Training:
    """The parent's training with a fraction of its budget (at least one step) and learning rate, on one worker.

    The effective batch stays the parent's: accumulation replaces its workers.
    """
    training = context.training
    amount = part_of(training.budget, budget_fraction).amount
    match training.budget.unit:
        case "steps":
            amount = max(amount, 1.0)
        case "examples":
            amount = max(amount, float(training.batch_size))
        case "epochs":  # slightly more than one step, as its fraction of an epoch could be rounded down to none
            amount = max(amount, training.batch_size / context.data.train.n_rows * (1 + 1e-9))
        case "seconds":
            pass
    return training.model_copy(
        update={
            "budget": Budget(unit=training.budget.unit, amount=amount),
            "learning_rate": training.learning_rate * learning_rate_factor,
            "evaluations": max(1, math.ceil(training.evaluations * min(1.0, budget_fraction))),
            "accumulation_steps": training.accumulation_steps * training.num_workers,
            "num_workers": 1,
            "sync_every_steps": None,
            "batch_schedule": FixedBatch(),
            "schedule": with_warmup_share(training, context.data.train.n_rows),  # the same share of a smaller budget
        }
    )
