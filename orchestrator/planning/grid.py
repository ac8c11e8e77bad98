"""The grid of baselines: every combination of the settings of a sweep, and any part of it. Imports no torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

from orchestrator.planning.scaling import carried_optimizer, carried_schedule, scaled_rates
from orchestrator.sweep.plan import Stage, Trial
from orchestrator.sweep.spec import AutoBatchSize, ScaledLearningRate, Sweep
from trainables.config.batching import split_batch
from trainables.config.training import Optimizer, Precision, Schedule, Training
from trainables.config.trial import BaselineConfig, Scalar, TaskConfig, trial_id

SeedGroup = tuple[Trial, ...]  # one trial per seed


def baselines(
    sweep: Sweep,
    stage: Stage,
    *,
    batch_size: int,
    multipliers: tuple[float, ...],
    seeds: tuple[int, ...],
    num_workers: int,
    precision: Precision,
    micro_batch_limit: int | None,
) -> tuple[Trial, ...]:
    """The trials of a part of the grid that the file does not spell out; all else is as the file says.

    Raises TypeError unless the file gives a base for the learning rate.
    """
    rate = sweep.parameters.learning_rate
    if not isinstance(rate, ScaledLearningRate):
        raise TypeError("multipliers need a learning rate to multiply")
    axes = sweep.parameters.model_copy(
        update={
            "batch_size": (batch_size,),
            "micro_batch_size": micro_batch_limit,
            "learning_rate": rate.model_copy(update={"multipliers": multipliers}),
            "seed": seeds,
            "num_workers": (num_workers,),
            "precision": (precision,),
        }
    )
    part = grid_of(sweep.model_copy(update={"parameters": axes}))
    return tuple(replace(trial, stage=stage) for configuration in part for trial in configuration)


def grid_of(sweep: Sweep) -> list[SeedGroup]:
    """The grid, batch size outermost and seed innermost; each configuration once."""
    axes = sweep.parameters
    if isinstance(axes.batch_size, AutoBatchSize):
        raise TypeError("a batch size that is to be found has no grid")
    tasks = [task_config(sweep, options) for options in sweep.task.combinations()]
    others = list(
        itertools.product(
            axes.num_workers,
            axes.precision,
            axes.sharding,
            axes.data_order,
            axes.optimizer,
            axes.schedule,
            axes.batch_schedule,
            axes.gradient_clip_norm,
            axes.sync_every_steps,
        )
    )
    result: dict[str, SeedGroup] = {}
    for batch_size, task, other in itertools.product(axes.batch_size, tasks, others):
        num_workers, precision, sharding, order, optimizer, schedule, growth, clip, sync = other
        micro_batch_size, accumulation_steps = split_batch(batch_size, num_workers, axes.micro_batch_size)
        optimizer, schedule = _carried(sweep, optimizer, schedule, batch_size)
        for learning_rate, source in learning_rates(sweep, batch_size):
            training = Training(
                batch_size=batch_size,
                micro_batch_size=micro_batch_size,
                accumulation_steps=accumulation_steps,
                num_workers=num_workers,
                learning_rate=learning_rate,
                optimizer=optimizer,
                schedule=schedule,
                gradient_clip_norm=clip,
                precision=precision,
                budget=sweep.budget,
                sharding=sharding if num_workers > 1 else "stripe",  # all rows are one worker's: it is the same trial
                data_order=order,
                batch_schedule=growth,
                sync_every_steps=sync if num_workers > 1 else None,  # one worker meets nobody: it is the same trial
                evaluations=sweep.evaluations,
                noise_scale=sweep.noise_scale,
            )
            configuration = tuple(_baseline(task, training, seed, source) for seed in axes.seed)
            result.setdefault(configuration[0].id, configuration)
    return list(result.values())


def _carried(sweep: Sweep, optimizer: Optimizer, schedule: Schedule, batch_size: int) -> tuple[Optimizer, Schedule]:
    """Both as they are at this batch size."""
    rule = sweep.parameters.learning_rate
    if not isinstance(rule, ScaledLearningRate):
        return optimizer, schedule
    return (
        carried_optimizer(optimizer, rule, batch_size, sweep.budget),
        carried_schedule(schedule, rule, batch_size, sweep.budget),
    )


def _baseline(task: TaskConfig, training: Training, seed: int, source: str) -> Trial:
    config = BaselineConfig(task=task, training=training.model_copy(update={"seed": seed}))
    return Trial(trial_id(config), config, source)


def learning_rates(sweep: Sweep, batch_size: int) -> list[tuple[float, str]]:
    """(learning rate, where it comes from) for one batch size."""
    rates = sweep.parameters.learning_rate
    if isinstance(rates, ScaledLearningRate):
        return scaled_rates(rates, batch_size)
    return [(rate, "as given" if len(rates) == 1 else "one of the values given") for rate in rates]


def task_config(sweep: Sweep, options: Mapping[str, Scalar] | None = None) -> TaskConfig:
    """The task with these options; without, as the file gives it, with the first value of a swept option."""
    chosen = dict(sweep.task.options if options is None else options)
    data = sweep.facts.data
    combinations = [repr(sorted(one.items())) for one in sweep.task.combinations()]  # 1 and True are two options
    own = data[0] if len(data) == 1 else data[combinations.index(repr(sorted(chosen.items())))]
    return TaskConfig(name=sweep.task.name, options=chosen, data=own, code=sweep.facts.code)
