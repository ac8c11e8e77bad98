"""The plan of a sweep: all trials, decided before anything runs. Imports no torch, Ray or MLflow.

A baseline's configuration is known when the plan is made. A variant's is not, because its parent is chosen from
results. So a plan holds the baselines as trials, and the variants as pending; `orchestrator.adaptive.resolve` turns
pending variants into trials.
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
    """Why a trial is in a sweep: it is in the file's grid, or earlier results led to it."""

    GRID = "grid"
    EDGE = "beyond the edge"  # a further learning rate, because the best one was the lowest or highest tried
    PROBE = "probe"
    SHORT_RUN = "short run"  # a part of the budget, for the noise scale
    FIT = "fit"  # a few batch sizes x learning rates, to fit steps to the target
    CONFIRMATION = "confirmation"  # fresh seeds around the predicted optimum


@dataclass(frozen=True)
class Trial:
    """One resolved configuration. `id` is a hash of its content, so the same trial has the same id in every sweep."""

    id: str
    config: AnyTrialConfig
    learning_rate_source: str  # where the learning rate comes from: "linear from 0.05 at 64, x 0.5"; empty for a probe
    stage: Stage = Stage.GRID

    @property
    def may_stop_early(self) -> bool:
        """Whether early stopping applies: not to a confirmation, whose seeds must stay paired, nor to a short run."""
        return self.stage not in (Stage.CONFIRMATION, Stage.SHORT_RUN)

    @property
    def training(self) -> Training:
        """The training of the trial, or of its parent. Raises TypeError for a probe, which trains nothing."""
        if isinstance(self.config, ProbeConfig):
            raise TypeError(f"trial {self.id} is a probe: it has no training")
        return self.config.training


@dataclass(frozen=True)
class ParentChoice:
    """A rule that picks the `rank`-th best of some configurations, once all their trials have ended.

    `configurations` holds trial ids: one inner tuple per configuration, with one trial per seed, in the sweep's order
    of seeds. Rank 1 is the best mean of the objective over the seeds.
    """

    rule: str  # text: "best of batch_size 32, after 6 trials"
    configurations: tuple[tuple[str, ...], ...]
    rank: int = 1


@dataclass(frozen=True)
class PendingVariant:
    """A variant whose parent is not chosen yet. An empty chain is the parent itself, exported and measured."""

    key: str  # unique within the plan: "best of batch_size 32, after 6 trials / seed 0 / 4 prune 0.5 + int8"
    choice: ParentChoice
    seed_index: int | None  # index of the chosen configuration's seed; None: the first that completed
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
    """Upper bounds of a stage whose trials depend on results."""

    stage: Stage
    trials: int
    examples: int | None  # None: unknown before the task is imported, or with a budget in seconds
    words: str  # text: "3 batch sizes x 3 learning rates"


@dataclass(frozen=True)
class Plan:
    """All work of a sweep. `trials` are the baselines, in the order of the sweep file's grid.

    If results lead to further baselines (see orchestrator.adaptive), `trials` are those known so far, and `stages` has
    upper bounds for the rest; the variants of such a sweep become pending once the last baseline has ended.
    """

    sweep: Sweep
    trials: tuple[Trial, ...]
    pending: tuple[PendingVariant, ...]
    notes: tuple[str, ...] = ()  # possible problems that are not errors
    stages: tuple[StageBound, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[str, Trial]:
        """The baselines by their ids."""
        return {trial.id: trial for trial in self.trials}
