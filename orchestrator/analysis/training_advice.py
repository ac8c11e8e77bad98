"""How to train the recommended configuration: its settings, the effort of each batch size, the choice of a seed."""

from __future__ import annotations

from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.reasons import BestSeed, Reason, TimesToTarget, TimeToTarget, TrainWith
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.analysis.table import Place, SweepTable
from orchestrator.analysis.time_to_target import ToTarget, steps_to_target
from orchestrator.sweep.plan import Stage


def training_advice(evidence: Evidence, configuration: Configuration, row: Row) -> list[Reason]:
    """The training half of the recommendation. `row`: the trial that represents the configuration."""
    source = evidence.table.parent_of(configuration).learning_rate_source
    return [
        TrainWith(configuration.training, source),
        *_times_to_target(evidence),
        *_seed_choice(evidence.table, configuration, row),
    ]


def _times_to_target(evidence: Evidence) -> list[Reason]:
    """The effort of each batch size at the learning rate with the fewest steps, not always the one with the
    best metric.
    """
    table = evidence.table
    there = _soonest(evidence)
    configurations = [*(entry.best for entry in evidence.tuned), *(row.configuration for row in there.values())]
    shown = {table.place_of(c): c for c in configurations}
    if table.plan.objective.target is None or not shown:
        return []
    tried = {(c.training.batch_size, c.training.learning_rate) for c in table.baselines}
    order = {table.place_of(c): number for number, c in reversed(list(enumerate(table.baselines)))}
    places = sorted(shown, key=lambda place: (place.batch_size, order[place]))
    return [
        TimesToTarget(
            tuple(TimeToTarget(shown[place], there.get(place)) for place in places),
            several_rates=len(tried) > len({batch_size for batch_size, _ in tried}),
            before_confirmation=any(row.stage is Stage.CONFIRMATION for row in table.rows),
        )
    ]


def _soonest(evidence: Evidence) -> dict[Place, ToTarget]:
    """A batch size's row of the table of steps to the target, or else one from its confirming trials."""
    rows = [*steps_to_target(evidence.table), *evidence.targets]  # the later ones replace the earlier
    return {evidence.table.place_of(row.configuration): row for row in rows}


def _seed_choice(table: SweepTable, configuration: Configuration, row: Row) -> list[Reason]:
    """The reason about the choice of a seed; None if all seeds gave the same figure, as nothing was selected."""
    metric = table.plan.objective.metric
    if len(set(configuration.values(metric).values())) < 2:
        return []
    return [BestSeed(row, row.value(metric) or 0.0, len(configuration.measured))]
