"""Sentences on how to train the recommended configuration: settings, time to the target, choice of a seed."""

from __future__ import annotations

import math

from orchestrator.analysis.effort import Effort
from orchestrator.analysis.reasons import BestSeed, TimesToTarget, TimeToTarget, TrainWith
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import ToTarget
from orchestrator.sweep.labels import settings_words
from orchestrator.sweep.plan import Stage
from orchestrator.wording.format import plural, quantity, target_words

MOST_TOLD, FASTEST_TOLD = 6, 3  # with more than 6 settings only the 3 fastest are named: the table has them all


def cost_words(table: SweepTable, seconds: float | None) -> str:
    """`0.544 s to val_accuracy 0.95`, or why there is no such figure."""
    objective = table.plan.objective
    until = "to the end" if objective.target is None else f"to {target_words(objective)}"
    if seconds is None or seconds == math.inf:
        return f"not every seed reached {target_words(objective)}" if objective.target is not None else "not measured"
    return f"{quantity('train_seconds', seconds)} {until}"


def effort_words(table: SweepTable, effort: Effort | None) -> str:
    """`240 steps and 7,680 examples to val_accuracy 0.95`, or why there are no such figures."""
    if effort is None or not math.isfinite(effort.steps):
        return cost_words(table, None if effort is None else math.inf)
    target = table.plan.objective.target
    until = "to the end" if target is None else f"to {target_words(table.plan.objective)}"
    return f"{effort.steps:,.0f} steps and {effort.examples:,.0f} examples {until}"


def train_words(reason: TrainWith) -> str:
    training = reason.training
    return (
        f"Train: batch size {training.batch_size}, learning rate {training.learning_rate:.4g}"
        f"{f' ({reason.source})' if reason.source else ''}, {training.optimizer.name}, {training.precision}, "
        f"{plural(training.num_workers, 'worker')}."
    )


def times_words(table: SweepTable, reason: TimesToTarget) -> str:
    """The training effort of each batch size; of the fastest ones if there are many."""
    told, several = reason.times, reason.several_rates
    which = f"each at its learning rate{' with the fewest steps' if several else ''}"
    if reason.before_confirmation:
        which += ", before the confirmation"
    if len(told) > MOST_TOLD:
        which = f"the fastest {FASTEST_TOLD} of {len(told)}, {which}"
        told = tuple(sorted(told, key=_slowness)[:FASTEST_TOLD])
    times = "; ".join(f"{_place_words(table, time)}{_took(time.row, several)}" for time in told)
    return f"To {target_words(table.plan.objective)}, {which}: {times}."


def _place_words(table: SweepTable, time: TimeToTarget) -> str:
    """`batch 16`, `batch 16 group`."""
    settings = settings_words(time.shown.config, table.settings)
    return f"batch {time.shown.training.batch_size} {settings}".rstrip()


def _slowness(time: TimeToTarget) -> tuple[float, float]:
    """Lower is better: first that every seed reaches the target, then how soon."""
    row = time.row
    return (0.0, math.inf) if row is None else (-len(row.crossings) / row.seeds, row.seconds.mean)


def _took(row: ToTarget | None, several_rates: bool) -> str:
    """` at rate 0.1: 52 steps, 3,340 examples, 0.484 s`. The learning rate is named if several were tried."""
    if row is None:
        return ": not reached"
    rate = f" at rate {row.configuration.training.learning_rate:.4g}" if several_rates else ""
    confirmed = " (from the confirmation)" if all(r.stage is Stage.CONFIRMATION for r in row.configuration.rows) else ""
    some = "" if row.is_whole else f" (only {len(row.crossings)} of {row.seeds} seeds)"
    seconds, most = quantity("train_seconds", row.seconds.mean), "at most " if row.is_bound else ""
    figures = f"{most}{row.steps.mean:,.0f} steps, {row.examples.mean:,.0f} examples, {seconds}{some}"
    return f"{rate}{confirmed}: {figures}"


def seed_words(metric: str, reason: BestSeed) -> str:
    best = f"{reason.row.id} (seed {reason.row.seed}) has the best {metric}, {quantity(metric, reason.value)}"
    return f"Of its {reason.seeds} seeds, {best}. For a new seed, expect the mean."
