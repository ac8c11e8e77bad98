"""The training loop of one trial, on each of its workers: blocks of steps, with evaluations between them.

`run` and `step` contain a single step. Batch norm's statistics are the first worker's: all workers copy them before
every step (DistributedDataParallel's default) and before every evaluation, so that the same model is evaluated, saved
and returned everywhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from torch import nn

from trainables.config.batch_schedule import growth_with_noise
from trainables.config.training import Training
from trainables.distributed.worker_context import WorkerContext
from trainables.process.isolation import seed_everything
from trainables.results import Report
from trainables.tasks.base import Task
from trainables.training.budget_clock import StepBlock, clock_of
from trainables.training.data_parallel import ItemLosses
from trainables.training.errors import Diverged
from trainables.training.evaluate import evaluate_both, evaluation_rows
from trainables.training.gradient_noise import GradientNoise
from trainables.training.run import TrainingRun
from trainables.training.step import Readings

if TYPE_CHECKING:
    from trainables.tasks.task_data import TaskData


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
    """Train `model` in place; yield a report after each evaluation; return all reports, also of earlier processes.

    `objective(model, batch)` gives the loss of every item, shape [items]; by default it is the task's. `checkpoint`
    names a file in the storage that is written before each yield and resumed from if it exists: the resumed run ends
    with the same bits as one that was not interrupted, unless the budget is in seconds. `noise` measures the gradient
    noise scale meanwhile; its estimate is in the reports as `noise_scale` if it is resolved.
    Raises Diverged, and ValueError if the budget ends before one step or the group does not fit the configuration.
    """
    run = TrainingRun.build(model, task, data, training, worker, objective=objective, noise=noise)
    state = run.state
    if checkpoint is not None:
        state.resume(worker, checkpoint)
    clock = clock_of(training, data.train.n_rows, worker, state)
    evaluated_rows = None  # of a batch, asked for once: after a step, which finds out whether a micro-batch fits
    while not (clock.is_over(reports := len(state.history)) or has_stalled(state.history, training.patience)):
        seed_everything(training.seed, worker.rank, state.step)
        readings = Readings(worker)
        while (block := clock.next_block(reports, state.step, state.seconds)).steps:
            take_block(run, block, readings)
        run.before_reading()
        with state.average.in_the_model() if state.average else nullcontext():
            evaluated_rows = evaluated_rows or evaluation_rows(model, task, data.validation, training, worker)
            both = evaluate_both(model, task, data, training, worker, evaluated_rows)
        report = report_of(run, readings, {name: estimate.value for name, estimate in both.items()})
        state.history.append(report)
        let_batch_grow(run)
        if checkpoint is not None:
            state.save(worker, checkpoint)
        yield report
    if state.average is not None:
        state.average.take_over()
    return tuple(state.history)


def has_stalled(history: Sequence[Report], patience: int | None) -> bool:
    """Whether the last `patience` readings have brought no lower loss on the validation data than one before them."""
    losses = [report.metrics["val_loss"] for report in history]
    return patience is not None and len(losses) > patience and min(losses[:-patience]) <= min(losses[-patience:])


def take_block(run: TrainingRun, block: StepBlock, readings: Readings) -> None:
    """Take the steps of a block, and move the run's state behind them. Raises Diverged."""
    state, started = run.state, time.perf_counter()
    for figures in run.steps(block):
        readings.append(*figures)
    first_step = state.step + 1
    state.step += block.steps
    state.rows += block.steps * run.rows_per_step
    bad = readings.look()  # waits for the device, so the clock below is right
    if run.noise is not None:
        run.noise.look()
    state.seconds += time.perf_counter() - started
    if bad is not None:
        raise Diverged(first_step + bad[0], bad[1], tuple(state.history))


def report_of(run: TrainingRun, readings: Readings, evaluated: dict[str, float]) -> Report:
    """The figures of the steps since the last evaluation, and the model's current figures. Raises Diverged."""
    state = run.state
    before = state.history[-1] if state.history else Report(step=0, examples=0, seconds=0.0, metrics={})
    examples = state.rows * run.training.num_workers
    figures = readings.metrics(examples - before.examples, state.seconds - before.seconds)
    figures["learning_rate"] = run.learning_rate
    noise_scale = run.noise.meter.estimate().examples if run.noise else None
    if noise_scale is not None:
        figures["noise_scale"] = noise_scale
    figures |= evaluated
    if not math.isfinite(figures["val_loss"]):
        raise Diverged(state.step, figures["val_loss"], tuple(state.history), in_validation=True)
    return Report(step=state.step, examples=examples, seconds=state.seconds, metrics=figures)


def let_batch_grow(run: TrainingRun) -> None:
    """Let a batch that grows with its noise scale grow; this is decided at evaluations."""
    known = run.noise.meter.estimate().at_least if run.noise else None
    state, training = run.state, run.training
    state.growth = growth_with_noise(training.batch_schedule, state.growth, training.batch_size, known)
