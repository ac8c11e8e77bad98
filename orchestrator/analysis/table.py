"""The plan and the results of one sweep, as rows (trials) and configurations (trials that differ only by seed).

trials/<id>/result.json     written by the driver when a trial ended; a planned trial without one is waiting
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from orchestrator.analysis.plan_file import StoredPlan, StoredTrial, load_plan
from orchestrator.analysis.result_file import load_result
from orchestrator.analysis.rows import Configuration, ProbeRow, Row
from orchestrator.sweep.labels import Settings, settings_of, varying_settings
from orchestrator.sweep.plan import Stage
from trainables.config.trial import ProbeConfig, TrainedConfig
from trainables.results import Status, TrialResult
from trainables.seal import DamagedFileError
from trainables.storage import Storage

OWN: Any = {"parent": True, "training": {"seed"}}  # settings of a trial that do not belong to its configuration


class Place(NamedTuple):
    """A group of baselines that is compared at its best learning rate."""

    batch_size: int
    settings: Settings  # values of the varied settings other than batch size and learning rate


@dataclass(frozen=True)
class SweepTable:
    plan: StoredPlan
    rows: tuple[Row, ...]
    configurations: tuple[Configuration, ...]
    damaged: tuple[str, ...] = ()  # one sentence per damaged file; its trial counts as waiting
    probes: tuple[ProbeRow, ...] = ()

    @property
    def baselines(self) -> list[Configuration]:
        """The baselines with the whole budget, without the short run, which has another purpose."""
        return [c for c in self.configurations if c.kind == "baseline" and c.rows[0].stage is not Stage.SHORT_RUN]

    @property
    def short_runs(self) -> list[Row]:
        return [row for row in self.rows if row.stage is Stage.SHORT_RUN]

    @property
    def variants(self) -> list[Configuration]:
        return [c for c in self.configurations if c.kind == "variant"]

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """The varied settings other than batch size and learning rate, as names for `labels.settings_of`.

        A setting under `carry` (see orchestrator.planning.scaling) changes with the batch size, so a setting counts as
        varied only if it differs within one batch size.
        """
        by_size: dict[int, list[TrainedConfig]] = defaultdict(list)
        for configuration in (*self.baselines, *self.variants):
            by_size[configuration.training.batch_size].append(configuration.config)
        return tuple(dict.fromkeys(name for configs in by_size.values() for name in varying_settings(configs)))

    def place_of(self, configuration: Configuration) -> Place:
        """A configuration's batch size and its values of the other varied settings."""
        return Place(configuration.training.batch_size, settings_of(configuration.config, self.settings))

    def by_place(self) -> dict[Place, list[Configuration]]:
        """Groups of baselines that differ only by learning rate, ascending by batch size, then in the plan's order."""
        groups: dict[Place, list[Configuration]] = defaultdict(list)
        for baseline in self.baselines:
            groups[self.place_of(baseline)].append(baseline)
        return dict(sorted(groups.items(), key=lambda item: item[0].batch_size))

    @cached_property
    def _by_id(self) -> dict[str, Row]:
        return {row.id: row for row in self.rows}

    @cached_property
    def _uncompressed(self) -> dict[str, Row]:
        """Parent id -> its uncompressed variant, if that was measured."""
        variants = ((row, row.config) for row in self.rows if row.config.kind == "variant" and row.measured)
        return {config.parent: row for row, config in variants if config.kind == "variant" and not config.chain}

    @cached_property
    def _compresses_all_seeds(self) -> bool:
        return any(len(variant.rows) > 1 for variant in self.variants)

    @cached_property
    def _baseline_of(self) -> dict[str, Configuration]:
        """Trial id -> the configuration of baselines that it belongs to."""
        return {row.id: c for c in self.baselines for row in c.rows}

    @property
    def has_completed(self) -> bool:
        """Whether any trial has run to its end, so that there are results to show."""
        return Status.COMPLETED in {row.status for row in self.rows} | {probe.status for probe in self.probes}

    def row(self, trial: str) -> Row | None:
        return self._by_id.get(trial)

    def uncompressed(self, row: Row) -> Row | None:
        """The uncompressed variant of the same parent."""
        return self._uncompressed.get(row.parent) if row.parent else None

    def parent_of(self, configuration: Configuration) -> Configuration:
        """The baselines behind a variant; the configuration itself if it is a baseline, or if they are unknown."""
        found = (self._baseline_of.get(row.parent) for row in configuration.rows if row.parent)
        return next((parent for parent in found if parent is not None), configuration)

    def beside(self, one: Configuration, other: Configuration, metric: str) -> list[Mapping[int, float]]:
        """Values (seed -> value) of other configurations, from which the variance over seeds is pooled.

        Variants of one training share the effects of its seeds. So for two variants of different trainings, every other
        training is used; for two variants of one training, its other variants.
        """
        parents = {self.parent_of(one).key, self.parent_of(other).key}
        if len(parents) == 2:
            return [c.values(metric) for c in self.baselines if c.key not in parents]
        return [
            c.values(metric)
            for c in self.variants
            if c.key not in {one.key, other.key} and self.parent_of(c).key in parents
        ]

    def lost_seeds(self, configuration: Configuration) -> int:
        """Seeds without a figure; for variants of several seeds, also parents that failed before compression.

        Parents that were stopped early do not count against a variant, because early stopping does not compare
        variants.
        """
        parent = self.parent_of(configuration)
        counts = parent is not configuration and self._compresses_all_seeds
        return len(configuration.lost) + (len(parent.broken) if counts else 0)

    def whole(self, configurations: Sequence[Configuration]) -> list[Configuration]:
        """The configurations that lost the fewest seeds (failed or stopped early), as means over remaining
        seeds are biased.
        """
        fewest = min(map(self.lost_seeds, configurations), default=0)
        return [c for c in configurations if self.lost_seeds(c) == fewest]


def make_table(plan: StoredPlan, results: Mapping[str, TrialResult], damaged: Iterable[str] = ()) -> SweepTable:
    """Join a plan with the available results (trial id -> result), in the plan's order."""
    rows = tuple(
        Row(trial.id, trial.config, trial.learning_rate_source, results.get(trial.id), trial.stage)
        for trial in plan.trials
        if not isinstance(trial.config, ProbeConfig)
    )
    probes = tuple(
        ProbeRow(trial.id, trial.config, results.get(trial.id))
        for trial in plan.trials
        if isinstance(trial.config, ProbeConfig)
    )
    groups: dict[str, list[Row]] = defaultdict(list)
    keys: dict[str, str] = {}  # configuration as text -> key, so that each digest is computed once
    for row in rows:
        text = row.config.model_dump_json(exclude=OWN)
        if text not in keys:
            keys[text] = _content(row.config)
        groups[keys[text]].append(row)
    configurations = tuple(
        Configuration(key, tuple(sorted(group, key=lambda row: (row.seed, row.id)))) for key, group in groups.items()
    )
    return SweepTable(plan, rows, configurations, tuple(damaged), probes)


def _content(config: TrainedConfig) -> str:
    content = config.model_dump(mode="json", exclude=OWN)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def load_table(storage: Storage, sweep: str) -> SweepTable:
    """Read a sweep's plan and all available results. Raises TableError if the storage has no such sweep."""
    plan = load_plan(storage, sweep)

    def read(trial: StoredTrial) -> TrialResult | DamagedFileError | None:
        try:
            return load_result(storage, trial.id)
        except DamagedFileError as error:
            return error

    if storage.is_local:
        outcomes = {trial.id: read(trial) for trial in plan.trials}
    else:  # an object store takes tens of milliseconds per file, and there may be thousands of files
        with ThreadPoolExecutor(8) as pool:
            outcomes = dict(zip((t.id for t in plan.trials), pool.map(read, plan.trials), strict=True))
    results = {trial: outcome for trial, outcome in outcomes.items() if isinstance(outcome, TrialResult)}
    damaged = [str(outcome) for outcome in outcomes.values() if isinstance(outcome, DamagedFileError)]
    return make_table(plan, results, damaged)
