"""The variants of a plan: the baselines that they wait for, and their trials once a baseline is chosen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from orchestrator.planning.grid import SeedGroup
from orchestrator.sweep.plan import ParentChoice, PendingVariant, Plan, Trial
from orchestrator.sweep.spec import CompressionPlan, Sweep, TopParents
from trainables.config.compression import Compression, describe_chain
from trainables.config.trial import VariantConfig, trial_id


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


def pending_variants(sweep: Sweep, configurations: Sequence[SeedGroup]) -> tuple[PendingVariant, ...]:
    """The variants of these baselines. All configurations have trials of the same seeds, in the same order."""
    return tuple(_pending(sweep, list(configurations)))


def chosen_variants(sweep: Sweep, configurations: Sequence[SeedGroup]) -> tuple[PendingVariant, ...]:
    """The variants of configurations that results have already ranked, best first."""
    if sweep.compression is None:
        return ()
    parents = sweep.compression.parents
    kept = configurations[: parents.top] if isinstance(parents, TopParents) else configurations
    every = sweep.compression.model_copy(update={"parents": "all"})
    return pending_variants(sweep.model_copy(update={"compression": every}), kept)


def _pending(sweep: Sweep, configurations: list[SeedGroup]) -> Iterator[PendingVariant]:
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


def _choices(compression: CompressionPlan, configurations: list[SeedGroup]) -> Iterator[ParentChoice]:
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


def _choice(what: str, configurations: list[SeedGroup], rank: int = 1) -> ParentChoice:
    ids = tuple(tuple(trial.id for trial in configuration) for configuration in configurations)
    count = sum(len(configuration) for configuration in ids)
    return ParentChoice(f"{what}, after {count} trial{'s' if count > 1 else ''}", ids, rank)
