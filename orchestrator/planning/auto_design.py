"""The plan of `batch_size: auto` before anything runs: sizes, the first trials, and upper bounds for later ones.

    stage                trials                                               what it determines
    probe                one per precision and number of workers              the micro-batch that fits, throughput
    short run            one, for a quarter of the budget                     the gradient noise scale
    fit                  `fit_sizes` batch sizes x the rate's multipliers     steps to the target, step time; the middle
                                                                              size first, to centre the others' rates;
                                                                              the larger ones last, as far as the budget
                                                                              reaches
    beyond the edge      up to `extend` rates per batch size                  that the best rate is no edge
    fit, once more       at most one more batch size                          the knee, where the first ones missed it
    confirmation         up to 4 configurations x `confirm_seeds`             the verdict, on fresh seeds

Imports no numpy, so that a plan is made quickly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.planning.grid import task_config
from orchestrator.planning.workload import budget_work, known_most, known_sum, work_of
from orchestrator.sweep.plan import Stage, StageBound, Trial
from orchestrator.sweep.spec import AutoBatchSize, ScaledLearningRate, Sweep
from trainables.config.batching import part_of, split_batch
from trainables.config.training import Budget, NoiseScale
from trainables.config.trial import ProbeConfig, Throughput, trial_id

MIN_STEPS = 32  # least steps of the largest batch size within the budget; fewer show little progress to a target
LARGEST_AUTO_BATCH_SIZE = 16_384  # limit if neither rows nor budget set one
SHORT_RUN_FRACTION = 0.25  # share of the budget
NOISE_PARTS = 8  # micro-batches per step of the short run: their differences give the noise scale
SHORT_RUN_NOISE = NoiseScale(every_steps=1, divided_every_steps=4)  # often, as the short run exists to measure it
MAX_CONFIRMED = 4  # configurations


def auto_settings(sweep: Sweep) -> tuple[AutoBatchSize, ScaledLearningRate]:
    """The file's settings of the batch size and the learning rate. Raises TypeError unless the batch size is `auto`."""
    auto, rate = sweep.parameters.batch_size, sweep.parameters.learning_rate
    if not isinstance(auto, AutoBatchSize) or not isinstance(rate, ScaledLearningRate):
        raise TypeError("the batch size is given")
    return auto, rate


def ladder(sweep: Sweep) -> list[int]:
    """The batch sizes that may be tried, ascending: powers of two and 1.5 times powers of two, times a number that all
    worker counts divide. They have many divisors, so micro-batches of any size fit; optima are so flat that steps of a
    third are fine enough.
    """
    auto, _ = auto_settings(sweep)
    return sizes_of(auto, sweep.parameters.num_workers, sweep.facts.train_rows, sweep.budget)


def sizes_of(auto: AutoBatchSize, num_workers: Sequence[int], train_rows: int | None, budget: Budget) -> list[int]:
    """The ladder of a partly read sweep; empty if no size lies between the smallest and the largest."""
    unit = math.lcm(*num_workers)
    largest = auto.largest or _largest(train_rows, budget)
    sizes = {unit * factor << power for power in range(largest.bit_length()) for factor in (1, 3)}
    return sorted(size for size in sizes if auto.smallest <= size <= largest)


def _largest(rows: int | None, budget: Budget) -> int:
    """The largest batch size with MIN_STEPS steps within the budget, and with at most half of the rows in a step."""
    limits = [LARGEST_AUTO_BATCH_SIZE]
    if rows is not None:
        limits.append(rows // 2)
    if budget.unit == "examples":
        limits.append(int(budget.amount) // MIN_STEPS)
    if budget.unit == "epochs" and rows is not None:
        limits.append(int(budget.amount * rows) // MIN_STEPS)
    return min(limits)


def middle_of(sizes: Sequence[int]) -> int:
    """The size of the short run."""
    return closest_size(sizes, math.sqrt(sizes[0] * sizes[-1]))


def closest_size(sizes: Sequence[int], value: float) -> int:
    """The size with the smallest ratio to the given one."""
    return min(sizes, key=lambda size: (abs(math.log(size / value)), size))


def spread(sizes: Sequence[int], count: int, low: float, high: float) -> list[int]:
    """`count` sizes, spread evenly in ratio from `low` to `high`; fewer if there are not enough."""
    steps = [low * (high / low) ** (i / (count - 1)) for i in range(count)]
    return sorted({closest_size(sizes, value) for value in steps})


def first_trials(sweep: Sweep) -> tuple[Trial, ...]:
    """The probes and the short run, which do not depend on each other."""
    return (*_probes(sweep), _short_run(sweep))


def _probes(sweep: Sweep) -> list[Trial]:
    """One probe for every precision and number of workers, for the largest micro-batch and the throughput."""
    axes, largest = sweep.parameters, ladder(sweep)[-1]
    configs = [
        ProbeConfig(
            task=task_config(sweep, sweep.task.options),
            optimizer=axes.optimizer[0],
            precision=precision,
            num_workers=workers,
            max_micro_batch_size=min(axes.micro_batch_size or largest, max(1, largest // workers)),
            throughput=Throughput(),
        )
        for precision in axes.precision
        for workers in axes.num_workers
    ]
    return [Trial(trial_id(config), config, "", Stage.PROBE) for config in configs]


def _short_run(sweep: Sweep) -> Trial:
    """The short run, at the middle size and the rule's own learning rate, in enough parts for the noise scale."""
    from orchestrator.planning.grid import baselines  # here, as that module imports this one

    middle = middle_of(ladder(sweep))
    axes = sweep.parameters
    workers = axes.num_workers[0]
    part = _part_of_a_step(middle, workers)
    budget = part_of(sweep.budget, SHORT_RUN_FRACTION)
    (trial,) = baselines(
        sweep.model_copy(update={"budget": budget, "evaluations": 4, "noise_scale": SHORT_RUN_NOISE}),
        Stage.SHORT_RUN,
        batch_size=middle,
        multipliers=(1.0,),
        seeds=axes.seed[:1],
        num_workers=workers,
        precision=axes.precision[0],
        micro_batch_limit=min(part, axes.micro_batch_size or part),
    )
    return trial


def _part_of_a_step(batch_size: int, num_workers: int) -> int:
    """The limit of a short run's micro-batch: the smallest with more than one row, as batch norm refuses one row.

    One row if the step would otherwise have a single part, which gives no noise scale.
    """
    limits = range(max(2, batch_size // max(NOISE_PARTS, num_workers)), batch_size)
    return next((limit for limit in limits if split_batch(batch_size, num_workers, limit)[0] > 1), 1)


def bounds(sweep: Sweep, first: Sequence[Trial]) -> tuple[StageBound, ...]:
    """Every stage with upper bounds of its trials and examples; the first stages are exact."""
    auto, rate = auto_settings(sweep)
    sizes, rates = min(auto.fit_sizes, len(ladder(sweep))), len(rate.multipliers)
    examples = _examples_at_most(sweep)
    known = {
        stage: [work_of(t.config, sweep.facts.train_rows) for t in first if t.stage is stage]
        for stage in (Stage.PROBE, Stage.SHORT_RUN)
    }
    confirmed = MAX_CONFIRMED if len(sweep.parameters.num_workers) > 1 else MAX_CONFIRMED - 1
    counts = [
        (Stage.FIT, sizes * rates, f"{sizes} batch sizes x {rates} learning rates"),
        (Stage.FIT, rates, "one more batch size, if these miss the knee"),
        (Stage.EDGE, (sizes + 1) * rate.extend, f"up to {rate.extend} rates per batch size whose best is an edge"),
        (Stage.CONFIRMATION, confirmed * auto.confirm_seeds, f"up to {confirmed} batch sizes x {auto.confirm_seeds} "
         "fresh seeds"),
    ]  # fmt: skip
    return (
        StageBound(Stage.PROBE, len(known[Stage.PROBE]), 0, "memory and throughput"),
        StageBound(Stage.SHORT_RUN, 1, known_sum(w.examples for w in known[Stage.SHORT_RUN]), "gradient noise scale"),
        *(
            StageBound(stage, count, None if examples is None else count * examples, words)
            for stage, count, words in counts
            if count
        ),
    )


def _examples_at_most(sweep: Sweep) -> int | None:
    """The work of one trial with the whole budget."""
    return known_most(budget_work(sweep.budget, size, sweep.facts.train_rows).examples for size in ladder(sweep))


def fresh_seeds(sweep: Sweep) -> tuple[int, ...]:
    """Seeds that no trial of the fit has used, as the seeds that tuned the learning rates must not confirm them."""
    auto, _ = auto_settings(sweep)
    first = max(sweep.parameters.seed) + 1
    return tuple(range(first, first + auto.confirm_seeds))
