"""The comparison in a terminal: the results of training, the results of compression, the recommendation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.analysis.caveats import noisy_latencies, shared_machine
from orchestrator.analysis.comparison import SweepComparison
from orchestrator.analysis.goals import LATENCY_PREFIX, is_against_parent
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.analysis.statistics import Basis
from orchestrator.analysis.table import SweepTable
from orchestrator.report.batch_section import batch_lines
from orchestrator.report.columns import ARROW, EDGE, NOISE, STAR, SYMBOLS, Column, training_columns, variant_columns
from orchestrator.report.probe_table import probe_lines
from orchestrator.report.tables import text_table
from orchestrator.wording.format import enumeration, number, plural, quantity
from orchestrator.wording.goals import ending_words, goal_words
from orchestrator.wording.hardware import measured_on, trained_on
from orchestrator.wording.reasons import label
from orchestrator.wording.recommendation import caveats, reasons
from orchestrator.wording.runner_up import why_not

MAX_ROWS = 40  # rows of one table; the other formats have every trial
SHORT_ROWS = 12  # rows of one table without `--details`
MAX_BROKEN = 8
MAX_WARNINGS = 6


def print_comparison(
    comparison: SweepComparison, console: Console, sentence_width: int | None = None, *, details: bool = False
) -> None:
    """Print all sections, fitted to the console's width; sentences may be set narrower than tables.

    Without `details`, print the main points on one screen.
    """
    for part in sections(comparison, console.width, details=details):
        console.print(part, highlight=False, width=None if isinstance(part, Table) else sentence_width)


def sections(comparison: SweepComparison, width: int, *, details: bool = True) -> list[RenderableType]:
    table = comparison.table
    parts: list[RenderableType] = [heading(table)]
    if table.probes:
        parts += ["", "Memory and throughput, probed in fresh processes", *map(Text, probe_lines(table))]
    if table.baselines:
        title, columns = training_title(comparison), training_columns(comparison)
        parts += ["", *_grid(title, columns, trainings(comparison), width)]
        if details:
            parts += [Text(f"  {line}", "dim") for line in machine_sentences(comparison)]
    if lines := batch_lines(comparison, details=details):
        parts += ["", *lines]
    if table.variants:
        parts += ["", *_compression(comparison, width, details)]
    parts += [*broken(table), "", recommendation(comparison, details=details)]
    return [*parts, "", legend(comparison)] if details else [*parts, short_legend(comparison)]


def _compression(comparison: SweepComparison, width: int, details: bool) -> list[RenderableType]:
    table = comparison.table
    how = "Compression: exported, loaded in a fresh process, measured there" if details else "Compression, measured"
    measured = [c for c in table.variants if c.measured]
    shown = _that_matter(comparison, measured, MAX_ROWS if details else SHORT_ROWS)
    parts = _grid(f"{how}{measured_on(table.variants)}", variant_columns(comparison), shown, width)
    if hidden := len(measured) - len(shown):
        parts.append(Text(f"  and {hidden} more: --format csv has all", "dim"))
    told = warnings(comparison) if details else []
    return [*parts, *(Text(f"  {line}", "dim") for line in told)]


def heading(table: SweepTable) -> Text:
    """The sweep's name, task and objective, and how its trials ended."""
    objective = table.plan.objective
    better = "higher" if objective.mode == "max" else "lower"
    target = "" if objective.target is None else f", target {objective.target:g}"
    kinds = Counter(row.kind for row in table.rows)
    counts = [plural(kinds[kind], kind) for kind in ("baseline", "variant") if kinds[kind]]
    statuses = Counter(row.status for row in table.rows).most_common()
    endings = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in statuses)
    return Text.assemble(
        (f"Sweep {table.plan.name}", "bold"),
        f": {table.plan.task}, {objective.metric} ({better} is better{target})\n",
        f"{enumeration(counts) or 'no trials'}: {endings or 'nothing ran'}",
    )


def training_title(comparison: SweepComparison) -> str:
    table = comparison.table
    entries = comparison.evidence.tuned
    several = any(len(entry.rates) > 1 for entry in entries)
    which = "at the best of its learning rates" if several else "at its one learning rate"
    also = ", and the recommended one" if len(trainings(comparison)) > len(entries) else ""
    return f"Training{trained_on(table.baselines)}: each batch size {which}{also}"


def trainings(comparison: SweepComparison) -> list[Configuration]:
    """The baselines of the training table: each batch size at its best learning rate, and the parents of the
    recommended configuration and of the runner-up.
    """
    table = comparison.table
    order = {entry.best.key: number for number, entry in enumerate(comparison.evidence.tuned)}
    shown = order.keys() | {table.parent_of(c).key for c in _chosen(comparison)}
    kept = [c for c in table.baselines if c.key in shown]
    return sorted(kept, key=lambda c: (c.training.batch_size, order.get(c.key, len(order))))


def recommendation(comparison: SweepComparison, *, details: bool = True) -> RenderableType:
    """The recommended trial, the reasons, the runner-up, the caveats, the test figures."""
    found, table = comparison.recommendation, comparison.table
    why = _bullets(reasons(table, found, details=details))
    doubts = _doubts(caveats(table, found.caveats, details=details))
    if found.row is None or found.configuration is None:
        return Group(Text("No recommendation", "bold yellow"), *why, *doubts)
    what = label(table, found.configuration)
    lines = [Text.assemble((f"{ARROW} Recommended: {found.row.id}", "bold green"), f"  {what}"), *why]
    if (second := found.runner_up) is not None:
        what, lost = f"{second.row.id}  {label(table, second.configuration)}", why_not(table, second)
        if details:
            lines += [Text.assemble(("  Runner-up: ", "bold"), what), *_bullets([f"Why not: {lost}."])]
        else:
            lines.append(Text.assemble(("  Runner-up: ", "bold"), f"{what}: {lost}."))
    return Group(*lines, *doubts, Text.assemble(("  Test data: ", "bold"), test_words(comparison)))


def test_words(comparison: SweepComparison) -> str:
    """The test figures of the recommended trial and how often the data was read, or why there are none."""
    reading, row = comparison.test_of_recommended, comparison.recommendation.row
    if reading is None:
        has_no_model = row is not None and row.result is not None and "model" not in row.result.files
        return "cannot be read, because the model could not be exported" if has_no_model else "not read yet"
    parts = []
    for name, estimate in reading.metrics.items():
        known = estimate.low is not None and estimate.high is not None
        interval = f" ({number(estimate.low or 0.0)} to {number(estimate.high or 0.0)})" if known else ""
        parts.append(f"{name} {quantity(name, estimate.value)}{interval}")
    how_often = "read once, after the choice"
    if reading.readings > 1:
        how_often = f"read after the choice, but the test data was read {reading.readings} times in this sweep"
    return f"{', '.join(parts)}; {how_often}"


def short_legend(comparison: SweepComparison) -> Text:
    """Two lines: the marks of both tables, and where to find everything else."""
    table = comparison.table
    marks = [f"{ARROW} recommended", f"{STAR} on the Pareto front", "± 95 % interval"]
    if any(entry.edge for entry in comparison.evidence.tuned):
        marks.append(f"{EDGE} lowest or highest rate tried")
    goals = f"goals: {SYMBOLS}, {NOISE} within noise. " if table.variants and table.plan.goals else ""
    return Text(f"{'; '.join(marks)}.\n{goals}All figures and reasons: --details", "dim")


def legend(comparison: SweepComparison) -> Text:
    """The meaning of marks and intervals; only of those that can occur in this comparison."""
    table = comparison.table
    metric = table.plan.objective.metric
    summaries = [summary for c in table.configurations if (summary := c.summary(metric)) is not None]
    over = []
    if seeds := {summary.n for summary in summaries if summary.basis is Basis.SEEDS}:
        over.append(f"over {enumeration([str(n) for n in sorted(seeds)])} seeds, with their mean")
    if any(summary.basis is Basis.WITHIN for summary in summaries):
        over.append("over the validation rows of one seed")
    lines = [
        f"{ARROW} recommended; {STAR} on the Pareto front: no other is at least as good in all figures and better in "
        "one (costs within 5 % are equal)"
    ]
    if over:
        lines.append(f"±: 95 % interval {'; or '.join(over)}")
    if any(summary.n > 1 and summary.low is None and math.isfinite(summary.mean) for summary in summaries):
        lines.append("no ±: every seed gave the same value; other seeds may not")
    if any(entry.edge for entry in comparison.evidence.tuned):
        lines.append(f"{EDGE} at a rate: the lowest or highest learning rate tried, so the best may lie beyond")
    if table.variants:
        lines += [
            "ms at B: median latency of a batch of B, compiled; its ratio to the uncompressed parent's, in alternation",
            "         (ms: that ratio times the parent's median, so that all refer to one machine speed)",
            "change, size in %: relative to the uncompressed parent",
        ]
        asked = [f"({i}) {goal_words(g, table.plan.direction(g.metric))}" for i, g in enumerate(table.plan.goals, 1)]
        if asked:
            lines.append(f"goals: {'; '.join(asked)}")
            lines.append(f"       {SYMBOLS}, followed by ~ where the interval allows the opposite")
        if any(goal.metric.startswith(LATENCY_PREFIX) and not is_against_parent(goal) for goal in table.plan.goals):
            lines.append("       a limit in ms is compared with the latency that was measured in each trial itself")
    return Text("\n".join(lines), "dim")


def machine_sentences(comparison: SweepComparison) -> list[str]:
    """The sentence that says that trials ran at the same time, which affects seconds and throughput."""
    return caveats(comparison.table, shared_machine(comparison.evidence))


def latency_sentences(comparison: SweepComparison) -> list[str]:
    """The sentence that says that the control makes the latencies unusable, if it does."""
    return caveats(comparison.table, noisy_latencies(comparison.evidence))


def warnings(comparison: SweepComparison) -> list[str]:
    """Warnings of trials in the compression table; the recommended trial's own are shown with the recommendation."""
    recommended = comparison.recommendation.row
    rows = [row for c in comparison.table.variants for row in c.measured if row != recommended]
    lines = [f"{row.id} ({row.compression}): {text}" for row in rows if row.result for text in row.result.warnings]
    more = [f"and {plural(len(lines) - MAX_WARNINGS, 'more warning')}: --format json has all"]
    shown = lines[:MAX_WARNINGS] + (more if len(lines) > MAX_WARNINGS else [])
    return [*latency_sentences(comparison), *shown]


def broken(table: SweepTable) -> list[RenderableType]:
    """The trials that did not run to their end, each with the reason."""
    rows = [row for c in table.configurations for row in c.broken]
    if not rows:
        return []
    lines = [f"  {row.id}  {_row_words(table, row)}" for row in rows[:MAX_BROKEN]]
    if len(rows) > MAX_BROKEN:
        lines.append(f"  and {len(rows) - MAX_BROKEN} more")
    return ["", Text("Did not run to the end", "bold"), *map(Text, lines)]


def _row_words(table: SweepTable, row: Row) -> str:
    what = f"{label(table, Configuration('', (row,)))}, seed {row.seed}: {row.status.replace('_', ' ')}"
    reason = ending_words(table, row)
    return f"{what}, {reason}" if reason else what


def _that_matter(comparison: SweepComparison, shown: Sequence[Configuration], most: int) -> list[Configuration]:
    """All rows if they fit; else the recommended, the runner-up, the nearest, the Pareto front, the uncompressed."""
    if len(shown) <= most:
        return list(shown)
    special = _chosen(comparison)
    first = [c for c in shown if c in special]
    front = [c for c in shown if c.key in comparison.front]
    kept = {c.key for c in [*first, *front, *(c for c in shown if c.compression == "uncompressed")][:most]}
    return [c for c in shown if c.key in kept]


def _chosen(comparison: SweepComparison) -> list[Configuration]:
    """The recommended configuration, or the one that comes closest to the goals, and the runner-up."""
    found = comparison.recommendation
    named = [found.configuration, found.nearest, found.runner_up.configuration if found.runner_up else None]
    return [configuration for configuration in named if configuration is not None]


# -- layout -----------------------------------------------------------------------------------------------------------


def _grid(title: str, columns: Sequence[Column], rows: Sequence[Configuration], width: int) -> list[RenderableType]:
    """A table that fits the width: first dispensable columns are dropped, then cells are shortened and moved closer."""
    if not rows:
        return [Text(title, "bold"), "  nothing has been measured yet"]
    needed = [column for column in columns if not column.dispensable]
    short = [replace(column, cell=column.short or column.cell) for column in needed]
    for kept, gap in ((columns, 2), (needed, 2), (short, 1)):
        cells = [[column.cell(row) for column in kept] for row in rows]
        if (
            sum(max(map(len, texts)) + gap for texts in zip([c.title for c in kept], *cells, strict=True)) - gap
            <= width
        ):
            break
    left = {column.title for column in kept if column.left}
    return [Text(title, "bold"), text_table([column.title for column in kept], cells, left=left, gap=gap)]


def _doubts(sentences: Sequence[str]) -> list[RenderableType]:
    return [Text("  To keep in mind:", "bold"), *_bullets(sentences)] if sentences else []


def _bullets(sentences: Sequence[str]) -> list[RenderableType]:
    """The sentences as a list with hanging indents."""
    lines: list[RenderableType] = []
    for sentence in sentences:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=1)
        grid.add_column()
        grid.add_row("-", Text(sentence))
        lines.append(Padding(grid, (0, 0, 0, 4)))
    return lines
