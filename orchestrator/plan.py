"""The plan of a sweep: every trial that will run, decided before anything does. Imports no torch, Ray or MLflow.

A baseline's configuration is known when the plan is made. A variant's is not: which baseline it compresses is chosen
from results. So a plan holds the baselines as trials and the variants as pending; `orchestrator.resolve` turns the
one into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from orchestrator.spec import Sweep
from trainables.config import AnyTrialConfig, Compression, Measure, ProbeConfig, Training


@dataclass(frozen=True)
class Trial:
    """One resolved configuration. `id` is a hash of its content, so the same trial has the same id in every sweep."""

    id: str
    config: AnyTrialConfig
    learning_rate_source: str  # where the rate comes from: "linear from 0.05 at 64, x 0.5"; empty for a probe

    @property
    def training(self) -> Training:
        """What it trains, or what its parent trained. Raises TypeError for a probe, which trains nothing."""
        if isinstance(self.config, ProbeConfig):
            raise TypeError(f"trial {self.id} is a probe: it has no training")
        return self.config.training


@dataclass(frozen=True)
class Choice:
    """A rule that picks the `rank`-th best of some configurations, once all their trials have ended.

    `configurations` holds trial ids: one inner tuple per configuration, with one trial per seed, in the sweep's order
    of seeds. Rank 1 is the best mean of the objective over the seeds.
    """

    rule: str  # for a person: "best of batch_size 32, after 6 trials"
    configurations: tuple[tuple[str, ...], ...]
    rank: int = 1


@dataclass(frozen=True)
class PendingVariant:
    """A variant whose parent is not chosen yet. An empty chain is the parent itself, exported and measured."""

    key: str  # unique within the plan: "best of batch_size 32, after 6 trials / seed 0 / 4 prune 0.5 + int8"
    choice: Choice
    seed_index: int | None  # which seed of the chosen configuration; None: the first that completed
    chain: tuple[Compression, ...]
    measure: Measure

    @property
    def candidates(self) -> tuple[str, ...]:
        """Ids of all trials that must have ended before the parent can be chosen."""
        return tuple(trial for configuration in self.choice.configurations for trial in configuration)

    @property
    def rule(self) -> str:
        return self.choice.rule


@dataclass(frozen=True)
class Plan:
    """Everything a sweep will do. `trials` are the baselines, in the order of the sweep file's grid."""

    sweep: Sweep
    trials: tuple[Trial, ...]
    pending: tuple[PendingVariant, ...]
    notes: tuple[str, ...] = ()  # what a careful reader of the plan should know; not errors

    @cached_property
    def by_id(self) -> Mapping[str, Trial]:
        """The baselines by their ids."""
        return {trial.id: trial for trial in self.trials}
