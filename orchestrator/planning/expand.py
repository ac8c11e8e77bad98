"""From a sweep to its plan: the grid of baselines, and the variants that wait for a parent."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator.plan import Choice, PendingVariant, Plan, Stage, StageBound, Trial
from orchestrator.planning.scaling import carried_optimizer, carried_schedule, scaled_rates, usual_rule
from orchestrator.planning.workload import baseline_work, known_most, work_of
from orchestrator.problems import listing
from orchestrator.spec import AutoBatchSize, CompressionPlan, ScaledLearningRate, Sweep, TopParents
from orchestrator.stages.design import bounds, first_trials, task_config
from trainables.batching import split_batch
from trainables.config import BaselineConfig, Compression, TaskConfig, VariantConfig, describe_chain, trial_id
from trainables.noise_scale import LEAST_DIVIDED_ROWS, LEAST_STEPS, steps_between_measurements
from trainables.training_config import NoiseScale, Optimizer, Precision, Schedule, Training

Configuration = tuple[Trial, ...]  # one trial per seed


def expand(sweep: Sweep) -> Plan:
    """Every trial of a sweep. Pure: the same sweep gives the same plan, in the same order."""
    notes = tuple(_notes(sweep))
    if isinstance(sweep.parameters.batch_size, AutoBatchSize):
        first = first_trials(sweep)
        return Plan(sweep, first, (), notes, bounds(sweep, first))
    configurations = _configurations(sweep)
    trials = tuple(trial for configuration in configurations for trial in configuration)
    notes += (*_growth_notes(sweep, trials), *_noise_notes(sweep, trials))
    return Plan(sweep, trials, pending_variants(sweep, configurations), notes, tuple(_edge_bounds(sweep, trials)))


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
    part = _configurations(sweep.model_copy(update={"parameters": axes}))
    return tuple(replace(trial, stage=stage) for configuration in part for trial in configuration)


def variant_trial(parent: Trial, chain: tuple[Compression, ...], plan: Plan) -> Trial:
    """The trial that compresses one baseline."""
    config = VariantConfig(
        task=parent.config.task,
        parent=parent.id,
        training=parent.training,
        chain=chain,
        measure=plan.sweep.measure,
    )
    return Trial(trial_id(config), config, parent.learning_rate_source)


def _configurations(sweep: Sweep) -> list[Configuration]:
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
    result: dict[str, Configuration] = {}
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


# -- variants ---------------------------------------------------------------------------------------------------------


def pending_variants(sweep: Sweep, configurations: Sequence[Configuration]) -> tuple[PendingVariant, ...]:
    """The variants of these baselines. All configurations have trials of the same seeds, in the same order."""
    return tuple(_pending(sweep, list(configurations)))


def chosen_variants(sweep: Sweep, configurations: Sequence[Configuration]) -> tuple[PendingVariant, ...]:
    """The variants where the results have put the configurations into an order already, best first."""
    if sweep.compression is None:
        return ()
    parents = sweep.compression.parents
    kept = configurations[: parents.top] if isinstance(parents, TopParents) else configurations
    every = sweep.compression.model_copy(update={"parents": "all"})
    return pending_variants(sweep.model_copy(update={"compression": every}), kept)


def _pending(sweep: Sweep, configurations: list[Configuration]) -> Iterator[PendingVariant]:
    if sweep.compression is None or not configurations:
        return
    known = [trial.training.seed for trial in configurations[0]]
    seeds = range(len(known)) if sweep.compression.seeds == "all" else [None]
    for choice in _choices(sweep.compression, configurations):
        for seed_index in seeds:
            for number, chain in enumerate(((), *sweep.compression.variants)):
                seed = "" if seed_index is None else f" / seed {known[seed_index]}"
                key = f"{choice.rule}{seed} / {number} {describe_chain(chain)}"
                yield PendingVariant(key, choice, seed_index, chain, sweep.measure)


def _choices(compression: CompressionPlan, configurations: list[Configuration]) -> Iterator[Choice]:
    match compression.parents:
        case "all":
            for configuration in configurations:
                yield _choice(f"baseline {configuration[0].id}", [configuration])
        case "best_per_batch_size":
            for batch_size, group in itertools.groupby(
                configurations, lambda configuration: configuration[0].training.batch_size
            ):
                yield _choice(f"best of batch_size {batch_size}", list(group))
        case TopParents(top=top):
            for rank in range(1, top + 1):
                yield _choice("best of all" if rank == 1 else f"number {rank} of all", configurations, rank)


def _choice(what: str, configurations: list[Configuration], rank: int = 1) -> Choice:
    ids = tuple(tuple(trial.id for trial in configuration) for configuration in configurations)
    count = sum(len(configuration) for configuration in ids)
    return Choice(f"{what}, after {count} trial{'s' if count > 1 else ''}", ids, rank)


def _edge_bounds(sweep: Sweep, trials: Sequence[Trial]) -> Iterator[StageBound]:
    """Rates that a grid may add: `extend` of them, for every choice of all else."""
    rate = sweep.parameters.learning_rate
    if isinstance(rate, ScaledLearningRate) and rate.extend:
        count = len(trials) // len(rate.multipliers) * rate.extend
        examples = known_most(work_of(trial.config, sweep.facts.train_rows).examples for trial in trials)
        words = f"up to {rate.extend} rates wherever the best is at an end"
        yield StageBound(Stage.EDGE, count, None if examples is None else count * examples, words)


# -- notes ------------------------------------------------------------------------------------------------------------


def _notes(sweep: Sweep) -> Iterator[str]:
    """What is legal and may still mislead."""
    axes = sweep.parameters
    rates = axes.learning_rate
    if isinstance(rates, ScaledLearningRate):
        rule = rates.rule
        odd = [optimizer for optimizer in axes.optimizer if rule not in ("none", usual_rule(optimizer))]
        for optimizer in odd:
            yield _odd_rule(rule, optimizer)
    else:
        rule = "none"
    if rule == "none" and (isinstance(axes.batch_size, AutoBatchSize) or len(axes.batch_size) > 1):
        yield (
            "all batch sizes train at the same learning rates, so what they show is the batch size and the rate "
            "together; a rule (linear for sgd, sqrt for adam and adamw) with multipliers separates them"
        )
    if not sweep.facts.complete:
        yield "the task's source does not tell everything without being imported: ids may change when it is run"


def _growth_notes(sweep: Sweep, trials: Sequence[Trial]) -> Iterator[str]:
    growing = [trial.training for trial in trials if trial.training.batch_schedule.name == "grow_with_noise"]
    stuck = sorted({t.batch_size for t in growing if not _may_grow(t, sweep.facts.train_rows)})
    if stuck:
        yield (
            f"grow_with_noise never grows at batch_size {listing(map(str, stuck))}: too few steps are measured before "
            "the last reading but one for the noise scale to be known; a larger budget or more evaluations help, and "
            f"a batch of at least {LEAST_DIVIDED_ROWS} rows"
        )


def _noise_notes(sweep: Sweep, trials: Sequence[Trial]) -> Iterator[str]:
    """Where the file asks for the noise scale, and trials take too few steps to know it."""
    if sweep.noise_scale in (None, NoiseScale()):
        return
    fixed = [t.training for t in trials if t.training.noise_scale and t.training.batch_schedule.name == "fixed"]
    short = sorted({t.batch_size for t in fixed if not _may_be_resolved(t, sweep.facts.train_rows)})
    if short:
        yield (
            f"the gradient noise scale stays unresolved at batch_size {listing(map(str, short))}: fewer than "
            f"{LEAST_STEPS + 1} of their steps are measured; a smaller divided_every_steps measures more often, "
            "for more of the time"
        )


def _may_be_resolved(training: Training, train_rows: int | None) -> bool:
    """Whether enough steps are measured for an interval; True where that is not known, or was not wanted."""
    every, steps = steps_between_measurements(training), baseline_work(training, train_rows).steps
    return not steps or every is None or steps // every > LEAST_STEPS


def _may_grow(training: Training, train_rows: int | None) -> bool:
    """Whether there can be an estimate of the noise scale at a reading that is not the last; True if not known."""
    every, steps = steps_between_measurements(training, 1, train_rows), baseline_work(training, train_rows).steps
    if not steps:
        return True
    before_last = steps * (training.evaluations - 1) // training.evaluations
    return every is not None and before_last // every > LEAST_STEPS


def _odd_rule(rule: str, optimizer: Optimizer) -> str:
    return f"the {rule} rule is unusual for {optimizer.name}; the literature gives {usual_rule(optimizer)}"
