"""The plan of a sweep: every trial that will run, decided before anything does. Imports no torch, Ray or MLflow.

A baseline's configuration is known when the plan is made. A variant's is not: which baseline it compresses is chosen
from results. So a plan holds the baselines as trials and the variants as pending; `orchestrator.adaptive.resolve` turns
the one into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from orchestrator.sweep.spec import Sweep
from trainables.config.compression import Compression
from trainables.config.training import Training
from trainables.config.trial import AnyTrialConfig, MeasureSettings, ProbeConfig


class Stage(StrEnum):
    """Why a baseline is in a sweep: it stands in the file's grid, or results of others have asked for it."""

    GRID = "grid"
    EDGE = "beyond the edge"  # of the learning rates tried at a batch size, because the best one was there
    PROBE = "probe"
    SHORT_RUN = "short run"  # a part of the budget, for the noise scale
    FIT = "fit"  # a few batch sizes x learning rates, to fit steps to the target
    CONFIRMATION = "confirmation"  # fresh seeds around the predicted optimum


@dataclass(frozen=True)
class Trial:
    """One resolved configuration. `id` is a hash of its content, so the same trial has the same id in every sweep."""

    id: str
    config: AnyTrialConfig
    learning_rate_source: str  # where the rate comes from: "linear from 0.05 at 64, x 0.5"; empty for a probe
    stage: Stage = Stage.GRID

    @property
    def may_stop_early(self) -> bool:
        """A confirmation runs to its end, or its seeds would no longer be pairs; a short run ends soon anyway."""
        return self.stage not in (Stage.CONFIRMATION, Stage.SHORT_RUN)

    @property
    def training(self) -> Training:
        """What it trains, or what its parent trained. Raises TypeError for a probe, which trains nothing."""
        if isinstance(self.config, ProbeConfig):
            raise TypeError(f"trial {self.id} is a probe: it has no training")
        return self.config.training


@dataclass(frozen=True)
class ParentChoice:
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
    choice: ParentChoice
    seed_index: int | None  # which seed of the chosen configuration; None: the first that completed
    chain: tuple[Compression, ...]
    measure: MeasureSettings

    @property
    def candidates(self) -> tuple[str, ...]:
        """Ids of all trials that must have ended before the parent can be chosen."""
        return tuple(trial for configuration in self.choice.configurations for trial in configuration)

    @property
    def rule(self) -> str:
        return self.choice.rule


@dataclass(frozen=True)
class StageBound:
    """A stage of a sweep whose trials are asked for by results: how much it is at most."""

    stage: Stage
    trials: int
    examples: int | None  # None: not known before the task is imported, or in seconds
    words: str  # for a person: "3 batch sizes x 3 learning rates"


@dataclass(frozen=True)
class Plan:
    """Everything a sweep will do. `trials` are the baselines, in the order of the sweep file's grid.

    Where results ask for further baselines (see orchestrator.stages), `trials` are those known so far, and `stages`
    says what comes at most; the variants of such a sweep are pending only once the last of them has ended.
    """

    sweep: Sweep
    trials: tuple[Trial, ...]
    pending: tuple[PendingVariant, ...]
    notes: tuple[str, ...] = ()  # what a careful reader of the plan should know; not errors
    stages: tuple[StageBound, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[str, Trial]:
        """The baselines by their ids."""
        return {trial.id: trial for trial in self.trials}
