"""Distillation: a narrower model learns from the outputs of the parent and from the labels.

loss = alpha * distillation loss + (1 - alpha) * the task's training loss,     per item

Students are evaluated like all models, by the task's `losses` and `scores`.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator

import torch
from torch import Tensor, nn

from trainables.compression.errors import CompressionError
from trainables.compression.fine_tune import Context, History, Trained, derive, train_on
from trainables.config.compression import Distill
from trainables.process.isolation import seed_everything
from trainables.results import Report
from trainables.tasks.base import Batch, Task
from trainables.training.data_parallel import ItemLosses


def distill(
    teacher: nn.Module, step: Distill, context: Context, checkpoint: str, before: History
) -> Generator[Report, None, Trained]:
    """A trained student of `teacher`, and the readings of the chain so far; yields the new ones.

    Raises Diverged, and CompressionError if the task has no students.
    """
    check_width(context.task)

    def build() -> nn.Module:
        seed_everything(context.training.seed, 0, 0)
        return context.task.build_model(width=step.width)

    objective = blended(teacher.to(context.worker.device).eval(), context.task, step)
    training = derive(context, step.budget_fraction, 1.0)
    return (yield from train_on(build, context, training, checkpoint, before, objective))


def check_width(task: Task) -> None:
    """Raises CompressionError if a narrower model cannot be asked for."""
    try:
        inspect.signature(task.build_model).bind(width=0.5)
    except TypeError:
        name = type(task).__name__
        raise CompressionError(
            f"distill asks {name}.build_model(width=...) for a narrower model, and it takes no width: give it one, or "
            "leave distill out"
        ) from None


def blended(teacher: nn.Module, task: Task, step: Distill) -> ItemLosses:
    """The student's loss of every item, shape [items]. Raises CompressionError if the two parts have other items."""

    def objective(student: nn.Module, batch: Batch) -> Tensor:
        batch = task.training_batch(batch)
        with torch.no_grad():
            wanted = task.forward(teacher, batch)
        outputs = task.forward(student, batch)
        from_teacher = task.distillation_losses(outputs, wanted, batch, step.temperature)
        from_labels = task.training_losses(outputs, batch)
        if from_teacher.shape != from_labels.shape:
            raise CompressionError(
                f"distill: training_losses() of {type(task).__name__} gives shape {list(from_labels.shape)} and "
                f"distillation_losses() {list(from_teacher.shape)}; override the latter to give one loss for each item"
            )
        return step.alpha * from_teacher + (1 - step.alpha) * from_labels

    return objective
