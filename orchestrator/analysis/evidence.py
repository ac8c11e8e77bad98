"""The figures derived from a sweep's results: each is computed once, when it is first needed, and passed on.

The decisions (`recommend`, `batch_verdict`, `equal_budget`) and their presentation use the same figures. An `Evidence`
is made once for a comparison, and computes each figure lazily, so that a script which needs one figure of many trials
does not wait for the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from orchestrator.analysis.batch_verdict import BatchVerdict, contenders, judge_batch_size
from orchestrator.analysis.common_readings import Checkpoints, checkpoints
from orchestrator.analysis.critical_batch import CriticalBatch
from orchestrator.analysis.effort import Effort, efforts
from orchestrator.analysis.latencies import NotQuiet, latencies_ms, latency_batches, not_quiet
from orchestrator.analysis.pareto import deployment_front, training_front
from orchestrator.analysis.predict_batch import fit_part
from orchestrator.analysis.settings_choices import SettingsChoice, settings_choices
from orchestrator.analysis.sharing import Sharing, sharing
from orchestrator.analysis.statistics import Summary
from orchestrator.analysis.table import Place, SweepTable
from orchestrator.analysis.time_to_target import ToTarget, critical_batch, steps_to_target
from orchestrator.analysis.tuned_rates import Tuned, tuned


@dataclass(frozen=True)
class Evidence:
    table: SweepTable

    @cached_property
    def tuned(self) -> tuple[Tuned, ...]:
        """Each batch size and choice of settings at its best learning rate."""
        return tuple(tuned(self.table))

    @cached_property
    def efforts(self) -> Mapping[str, Effort]:
        """Baseline's key -> the effort of its training."""
        return efforts(self.table)

    @cached_property
    def tuning(self) -> Evidence:
        """Tuned learning rates, without confirming trials, which have a single rate between the tuned ones."""
        return Evidence(fit_part(self.table))

    @cached_property
    def targets(self) -> tuple[ToTarget, ...]:
        """The effort to the target, from the trials that tuned the learning rate."""
        return tuple(steps_to_target(self.tuning.table))

    @cached_property
    def choices(self) -> Mapping[Place, SettingsChoice]:
        """The choice of other settings that the settings at a batch size belong to."""
        return settings_choices(self.table)

    @cached_property
    def curves(self) -> Mapping[SettingsChoice, CriticalBatch]:
        """The critical batch size of each choice."""
        rows = defaultdict[SettingsChoice, list[ToTarget]](list)
        for row in self.targets:
            rows[self.tuning.choices[self.tuning.table.place_of(row.configuration)]].append(row)
        return {choice: critical_batch(own) for choice, own in rows.items()}

    @cached_property
    def contenders(self) -> tuple[ToTarget, ...]:
        """The configurations confirmed with fresh seeds."""
        return contenders(self.table)

    @cached_property
    def batch(self) -> BatchVerdict | None:
        """The verdict of `batch_size: auto`; None for other sweeps."""
        return judge_batch_size(self.table, self.contenders)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        return checkpoints(self.table)

    @cached_property
    def not_quiet(self) -> tuple[NotQuiet, ...]:
        """The measurements whose control was not 1; empty if latencies can be used."""
        return not_quiet(self.table)

    @cached_property
    def latencies_ms(self) -> Mapping[int, Mapping[str, Summary]]:
        """Batch size -> variant's key -> its median latency at one speed of the machine."""
        return {batch: latencies_ms(self.table, batch) for batch in latency_batches(self.table.variants)}

    @cached_property
    def sharing(self) -> Sharing | None:
        """The trainings that shared their machine with other trials of the sweep."""
        return sharing(self.table)

    @cached_property
    def front(self) -> frozenset[str]:
        """Keys of the variants on the Pareto front of objective, size and latencies."""
        return deployment_front(self.table, () if self.not_quiet else tuple(self.latencies_ms.values()))

    @cached_property
    def training_front(self) -> frozenset[str]:
        """Keys of the baselines on the Pareto front of objective and seconds of training."""
        return training_front(self.table)
