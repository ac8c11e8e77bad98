"""The sentences on how to train what is recommended: its settings, the time to the target, the choice of a seed."""

from __future__ import annotations

import math

from orchestrator.analysis.table import Configuration, Row, SweepTable
from orchestrator.analysis.tuning import Tuned, to_target, tuned
from orchestrator.analysis.words import plural, quantity, settings_words, target_words

MOST_TOLD, FASTEST_TOLD = 6, 3  # with more settings than that only the fastest are told: the table has them all


def cost_words(table: SweepTable, seconds: float | None) -> str:
    """`0.544 s to val_accuracy 0.95`, or why there is no such figure."""
    objective = table.plan.objective
    until = "to the end" if objective.target is None else f"to {target_words(objective)}"
    if seconds is None or seconds == math.inf:
        return f"not every seed came {until}" if objective.target is not None else "not measured"
    return f"{quantity('train_seconds', seconds)} {until}"


def training(table: SweepTable, configuration: Configuration) -> list[str]:
    """The batch-size half of the recommendation: the training settings, and what the other batch sizes took."""
    setting = configuration.training
    source = table.parent_of(configuration).learning_rate_source
    sentences = [
        f"Train at batch size {setting.batch_size} with learning rate {setting.learning_rate:.4g}"
        f"{f' ({source})' if source else ''}, {setting.optimizer.name}, {setting.precision}, "
        f"{plural(setting.num_workers, 'worker')}."
    ]
    objective, envelope = table.plan.objective, tuned(table)
    if objective.target is not None and envelope:
        rate = "at the best rate of each" if any(len(entry.rates) > 1 for entry in envelope) else "at the rate of each"
        told, which = envelope, rate
        if len(envelope) > MOST_TOLD:
            told = sorted(envelope, key=lambda entry: _slowness(table, entry))[:FASTEST_TOLD]
            which = f"the fastest {FASTEST_TOLD} of {len(envelope)} in the table, {rate}"
        times = "; ".join(_time_to_target(table, entry) for entry in told)
        sentences.append(f"To {target_words(objective)}, {which}: {times}.")
    return sentences


def _slowness(table: SweepTable, entry: Tuned) -> tuple[float, float]:
    """Lower is better: first that every seed reaches the target, then how soon."""
    outcome = to_target(table, entry.best)
    return (0.0, math.inf) if outcome is None else (-outcome.reached / outcome.seeds, outcome.seconds.mean)


def _time_to_target(table: SweepTable, entry: Tuned) -> str:
    name = f"batch {entry.batch_size} {settings_words(entry.best.config, table.settings)}".rstrip()
    outcome = to_target(table, entry.best)
    if outcome is None:
        return f"{name}: not reached"
    some = "" if outcome.reached == outcome.seeds else f" (only {outcome.reached} of {outcome.seeds} seeds)"
    seconds, most = quantity("train_seconds", outcome.seconds.mean), "at most " if outcome.is_bound else ""
    return f"{name}: {most}{outcome.steps.mean:,.0f} steps, {outcome.examples.mean:,.0f} examples, {seconds}{some}"


def seed_choice(table: SweepTable, configuration: Configuration, row: Row) -> list[str]:
    """Which of several seeds it is. Where all came out the same there was no choice, and nothing flatters."""
    metric = table.plan.objective.metric
    if len(set(configuration.values(metric).values())) < 2:
        return []
    return [
        f"Of its {len(configuration.measured)} seeds, {row.id} (seed {row.seed}) has the best {metric}, "
        f"{quantity(metric, row.value(metric) or 0.0)}; chosen for being the best, it flatters itself: expect the mean."
    ]
