"""The sentences on how to train what is recommended: its settings, the time to the target, the choice of a seed."""

from __future__ import annotations

import math

from orchestrator.analysis.effort import Effort
from orchestrator.analysis.format import plural, quantity, target_words
from orchestrator.analysis.predict_batch import fit_part
from orchestrator.analysis.table import Configuration, Row, SweepTable
from orchestrator.analysis.time_to_target import TargetRow, steps_to_target
from orchestrator.analysis.tuned_rates import tuned
from orchestrator.sweep.labels import settings_words
from orchestrator.sweep.plan import Stage

MOST_TOLD, FASTEST_TOLD = 6, 3  # with more settings than that only the fastest are told: the table has them all


def cost_words(table: SweepTable, seconds: float | None) -> str:
    """`0.544 s to val_accuracy 0.95`, or why there is no such figure."""
    objective = table.plan.objective
    until = "to the end" if objective.target is None else f"to {target_words(objective)}"
    if seconds is None or seconds == math.inf:
        return f"not every seed came {until}" if objective.target is not None else "not measured"
    return f"{quantity('train_seconds', seconds)} {until}"


def effort_words(table: SweepTable, effort: Effort | None) -> str:
    """`240 steps and 7,680 examples to val_accuracy 0.95`, or why there are no such figures."""
    if effort is None or not math.isfinite(effort.steps):
        return cost_words(table, None if effort is None else math.inf)
    target = table.plan.objective.target
    until = "to the end" if target is None else f"to {target_words(table.plan.objective)}"
    return f"{effort.steps:,.0f} steps and {effort.examples:,.0f} examples {until}"


def training(table: SweepTable, configuration: Configuration) -> list[str]:
    """The batch-size half of the recommendation: the training settings, and what the other batch sizes took."""
    setting = configuration.training
    source = table.parent_of(configuration).learning_rate_source
    sentences = [
        f"Train at batch size {setting.batch_size} with learning rate {setting.learning_rate:.4g}"
        f"{f' ({source})' if source else ''}, {setting.optimizer.name}, {setting.precision}, "
        f"{plural(setting.num_workers, 'worker')}."
    ]
    return [*sentences, *_times_to_target(table)]


def _times_to_target(table: SweepTable) -> list[str]:
    """What each batch size took, at the rate with the fewest steps: not always the rate with the best objective."""
    there = _soonest(table)
    shown = {(entry.batch_size, _settings(table, entry.best)) for entry in tuned(table)}
    sizes = sorted(shown | there.keys())
    if table.plan.objective.target is None or not sizes:
        return []
    tried = {(c.training.batch_size, c.training.learning_rate) for c in table.baselines}
    several = len(tried) > len({batch_size for batch_size, _ in tried})
    told, which = sizes, f"at the rate of each{' with the fewest steps' if several else ''}"
    if any(row.stage is Stage.CONFIRMATION for row in table.rows):
        which += ", before the confirmation"
    if len(sizes) > MOST_TOLD:
        told = sorted(sizes, key=lambda size: _slowness(there.get(size)))[:FASTEST_TOLD]
        which = f"the fastest {FASTEST_TOLD} of {len(sizes)}, {which}"
    times = "; ".join(f"batch {size} {name}".rstrip() + _took(there.get((size, name)), several) for size, name in told)
    return [f"To {target_words(table.plan.objective)}, {which}: {times}."]


def _settings(table: SweepTable, configuration: Configuration) -> str:
    return settings_words(configuration.config, table.settings)


def _soonest(table: SweepTable) -> dict[tuple[int, str], TargetRow]:
    """(batch size, settings) -> its row as in the table of steps to the target, or else one over what confirmed it."""
    rows = [*steps_to_target(table), *steps_to_target(fit_part(table))]  # the later ones replace the earlier
    return {(row.batch_size, _settings(table, row.best)): row for row in rows}


def _slowness(row: TargetRow | None) -> tuple[float, float]:
    """Lower is better: first that every seed reaches the target, then how soon."""
    return (0.0, math.inf) if row is None else (-len(row.crossings) / row.seeds, row.seconds.mean)


def _took(row: TargetRow | None, several_rates: bool) -> str:
    """` at rate 0.1: 52 steps, 3,340 examples, 0.484 s`: with the rate where the table may show another beside it."""
    if row is None:
        return ": not reached"
    rate = f" at rate {row.best.training.learning_rate:.4g}" if several_rates else ""
    confirmed = " (from the confirmation)" if all(r.stage is Stage.CONFIRMATION for r in row.best.rows) else ""
    some = "" if row.is_whole else f" (only {len(row.crossings)} of {row.seeds} seeds)"
    seconds, most = quantity("train_seconds", row.seconds.mean), "at most " if row.is_bound else ""
    figures = f"{most}{row.steps.mean:,.0f} steps, {row.examples.mean:,.0f} examples, {seconds}{some}"
    return f"{rate}{confirmed}: {figures}"


def seed_choice(table: SweepTable, configuration: Configuration, row: Row) -> list[str]:
    """Which of several seeds it is. Where all came out the same there was no choice, and nothing flatters."""
    metric = table.plan.objective.metric
    if len(set(configuration.values(metric).values())) < 2:
        return []
    return [
        f"Of its {len(configuration.measured)} seeds, {row.id} (seed {row.seed}) has the best {metric}, "
        f"{quantity(metric, row.value(metric) or 0.0)}; chosen for being the best, it flatters itself: expect the mean."
    ]
