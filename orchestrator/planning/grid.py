"""The grid of baselines: every combination of a sweep's settings, or a part of them. Imports no torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.planning.scaling import carried_average, carried_optimizer, carried_schedule, scaled_rates
from orchestrator.sweep.axes import AXES
from orchestrator.sweep.plan import Stage, Trial
from orchestrator.sweep.spec import AutoBatchSize, Parameters, ScaledLearningRate, Sweep
from trainables.config.batching import split_batch
from trainables.config.training import Precision, Training
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
    """The trials for settings that the file does not list; all other settings are the file's.

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
    """The grid, with the batch size outermost and the seed innermost; each configuration once."""
    axes = sweep.parameters
    if isinstance(axes.batch_size, AutoBatchSize):
        raise TypeError("batch_size auto has no grid")
    tasks = [task_config(sweep, options) for options in sweep.task.combinations()]
    result: dict[str, SeedGroup] = {}
    for batch_size, task, settings in itertools.product(axes.batch_size, tasks, _settings(axes)):
        micro_batch_size, accumulation_steps = split_batch(batch_size, settings["num_workers"], axes.micro_batch_size)
        for learning_rate, source in learning_rates(sweep, batch_size):
            training = Training(
                batch_size=batch_size,
                micro_batch_size=micro_batch_size,
                accumulation_steps=accumulation_steps,
                learning_rate=learning_rate,
                budget=sweep.budget,
                evaluations=sweep.evaluations,
                noise_scale=sweep.noise_scale,
                **_carried(sweep, settings, batch_size),
            )
            configuration = tuple(_baseline(task, training, seed, source) for seed in axes.seed)
            result.setdefault(configuration[0].id, configuration)
    return list(result.values())


def _settings(parameters: Parameters) -> list[dict[str, Any]]:
    """Every combination of the axes, by their names. With one worker, settings for several workers keep defaults."""
    values = itertools.product(*(getattr(parameters, axis.name) for axis in AXES))
    combinations = [dict(zip((axis.name for axis in AXES), chosen, strict=True)) for chosen in values]
    alone = {axis.name: axis.default for axis in AXES if axis.setting.needs_workers}
    return [settings | (alone if settings["num_workers"] == 1 else {}) for settings in combinations]


def _carried(sweep: Sweep, settings: Mapping[str, Any], batch_size: int) -> dict[str, Any]:
    """The settings as they are at this batch size."""
    rule = sweep.parameters.learning_rate
    if not isinstance(rule, ScaledLearningRate):
        return dict(settings)
    return dict(settings) | {
        "optimizer": carried_optimizer(settings["optimizer"], rule, batch_size, sweep.budget),
        "schedule": carried_schedule(settings["schedule"], rule, batch_size, sweep.budget),
        "ema": carried_average(settings["ema"], rule, batch_size),
    }


def _baseline(task: TaskConfig, training: Training, seed: int, source: str) -> Trial:
    config = BaselineConfig(task=task, training=training.model_copy(update={"seed": seed}))
    return Trial(trial_id(config), config, source)


def learning_rates(sweep: Sweep, batch_size: int) -> list[tuple[float, str]]:
    """(learning rate, its source) pairs for one batch size."""
    rates = sweep.parameters.learning_rate
    if isinstance(rates, ScaledLearningRate):
        return scaled_rates(rates, batch_size)
    return [(rate, "as given" if len(rates) == 1 else "one of the values given") for rate in rates]


def task_config(sweep: Sweep, options: Mapping[str, Scalar] | None = None) -> TaskConfig:
    """The task with these options; by default the file's, with the first value of each swept option."""
    chosen = dict(sweep.task.options if options is None else options)
    data = sweep.facts.data
    combinations = [repr(sorted(one.items())) for one in sweep.task.combinations()]  # 1 and True are two options
    own = data[0] if len(data) == 1 else data[combinations.index(repr(sorted(chosen.items())))]
    return TaskConfig(name=sweep.task.name, options=chosen, data=own, code=sweep.facts.code)
