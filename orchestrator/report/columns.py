"""The columns of the comparison's two tables, with the cell of each configuration, for terminal and page alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.analysis.comparison import SweepComparison
from orchestrator.analysis.goals import GoalResult, GoalVerdict
from orchestrator.analysis.latencies import latency_ratio
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import to_target
from orchestrator.sweep.labels import settings_words
from orchestrator.wording.format import number, quantity, summary_words

STAR, ARROW, EDGE, NOISE = "★", "→", "!", "~"
VERDICT_SYMBOLS = {GoalVerdict.MET: "✓", GoalVerdict.MISSED: "✗", GoalVerdict.NOT_DETERMINED: "?"}
SYMBOLS = ", ".join(f"{symbol} {verdict}" for verdict, symbol in VERDICT_SYMBOLS.items())


@dataclass(frozen=True)
class Column:
    title: str
    cell: Callable[[Configuration], str]
    left: bool = False  # text is aligned to the left, figures to the right
    dispensable: bool = False  # may be left out in a narrow terminal
    short: Callable[[Configuration], str] | None = None  # a shorter cell, for an even narrower terminal


def training_columns(comparison: SweepComparison) -> list[Column]:
    """The columns for baselines, each at its best learning rate."""
    table = comparison.table
    objective = table.plan.objective
    edges = {entry.best.key for entry in comparison.evidence.tuned if entry.edge}
    columns = [
        Column("", lambda c: marks(comparison, c, comparison.training_front), left=True),
        Column("batch", lambda c: str(c.training.batch_size)),
        Column("rate", lambda c: f"{c.training.learning_rate:.4g}{EDGE if c.key in edges else ''}"),
    ]
    if table.settings:
        columns.append(Column("settings", lambda c: settings_words(c.config, table.settings), left=True))
    train_metric = objective.metric.replace("val_", "train_", 1)
    columns.append(_figure(objective.metric))
    if train_metric != objective.metric:
        columns.append(_figure(train_metric))
    if objective.target is not None:
        target = f"{objective.target:g}"
        columns += [
            Column(f"steps to {target}", lambda c: _to_target(table, c)[0]),
            Column("examples", lambda c: _to_target(table, c)[1]),
            Column("seconds", lambda c: _to_target(table, c)[2]),
        ]
    else:
        columns.append(Column("seconds", lambda c: _plain(c, "train_seconds")))
    columns.append(Column("examples/s", lambda c: _plain(c, "examples_per_second"), dispensable=True))
    return columns


def variant_columns(comparison: SweepComparison) -> list[Column]:
    """The columns for compressed models."""
    table = comparison.table
    metric = table.plan.objective.metric
    trainings = {(c.training.batch_size, c.training.learning_rate) for c in table.variants}
    columns = [
        Column("", lambda c: marks(comparison, c, comparison.front), left=True),
        Column("batch", lambda c: str(c.training.batch_size)),
    ]
    if len(trainings) > len({batch_size for batch_size, _ in trainings}):
        columns.append(Column("rate", lambda c: f"{c.training.learning_rate:.4g}"))
    if table.settings:
        columns.append(Column("settings", lambda c: settings_words(c.config, table.settings), left=True))
    columns += [
        Column("compression", lambda c: c.compression, left=True),
        _figure(metric),
        Column("change", lambda c: _change(c, metric), short=lambda c: _change(c, metric).partition(" ")[0]),
        Column("size", lambda c: _size(table, c), short=lambda c: _size(table, c, share=False)),
    ]
    columns += [_latency(comparison, batch) for batch in comparison.evidence.latencies_ms]
    if table.plan.goals:
        columns.append(Column("goals", lambda c: goal_symbols(comparison.goals[c.key]), left=True))
    columns.append(Column("trial", lambda c: representative(comparison, c).id, left=True, dispensable=True))
    return columns


def representative(comparison: SweepComparison, configuration: Configuration) -> Row:
    """The trial that represents a configuration: the recommended one, or the first that was measured."""
    row = comparison.recommendation.row
    return row if row is not None and row in configuration.rows else (*configuration.measured, *configuration.rows)[0]


def marks(comparison: SweepComparison, configuration: Configuration, front: frozenset[str]) -> str:
    """Arrow: recommended, or the training of the recommended variant. Star: on the Pareto front."""
    chosen = comparison.recommendation.configuration
    is_chosen = chosen is not None and configuration in (chosen, comparison.table.parent_of(chosen))
    return (ARROW if is_chosen else " ") + (STAR if configuration.key in front else " ")


def goal_symbols(results: tuple[GoalResult, ...]) -> str:
    """One symbol per goal, in the order of the sweep file."""
    return " ".join(VERDICT_SYMBOLS[r.verdict] + (NOISE if r.within_noise else "") for r in results)


def _figure(metric: str) -> Column:
    return Column(metric, lambda c: summary_words(metric, c.summary(metric)), short=lambda c: _plain(c, metric))


def _plain(configuration: Configuration, metric: str) -> str:
    summary = configuration.summary(metric)
    return "-" if summary is None else number(summary.mean)


def _to_target(table: SweepTable, configuration: Configuration) -> tuple[str, str, str]:
    outcome = to_target(configuration, table.plan.objective)
    if outcome is None:
        return "not reached", "-", "-"
    some = "" if outcome.is_whole else f" ({len(outcome.crossings)} of {outcome.seeds})"
    most = "≤ " if outcome.is_bound else ""
    figures = f"{outcome.steps.mean:,.0f}{some}", f"{outcome.examples.mean:,.0f}", number(outcome.seconds.mean)
    return f"{most}{figures[0]}", f"{most}{figures[1]}", f"{most}{figures[2]}"


def _change(configuration: Configuration, metric: str) -> str:
    if configuration.compression == "uncompressed":
        return "-"
    return summary_words(metric, configuration.summary(f"{metric}_change"))


def _size(table: SweepTable, configuration: Configuration, *, share: bool = True) -> str:
    size = configuration.summary("artifact_bytes")
    if size is None:
        return "-"
    parents = [parent.value("artifact_bytes") for row in configuration.measured if (parent := table.uncompressed(row))]
    known = [value for value in parents if value]
    percent = f" {100 * size.mean / (sum(known) / len(known)):3.0f}%" if share and known else ""
    return quantity("artifact_bytes", size.mean) + percent


def _latency(comparison: SweepComparison, batch: int) -> Column:
    took = comparison.evidence.latencies_ms[batch]

    def short(configuration: Configuration) -> str:
        return number(took[configuration.key].mean) if configuration.key in took else "-"

    def cell(configuration: Configuration) -> str:
        ratio = latency_ratio(configuration, batch)
        return short(configuration) + ("" if ratio is None else f" {ratio.mean:.2f}x")

    doubt = "?" if comparison.evidence.not_quiet else ""
    return Column(f"ms at {batch}{doubt}", cell, short=short)
