"""The comparison as one HTML page that carries everything it needs: it can be mailed, and opens without a network.

Every word that comes from the sweep is escaped. The page forbids itself to load anything (Content-Security-Policy).
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence

from plotly.offline import get_plotlyjs

from orchestrator.analysis.comparison import Comparison
from orchestrator.analysis.format import number, quantity, summary_words
from orchestrator.analysis.hardware import measured_on
from orchestrator.analysis.table import Configuration, Row
from orchestrator.report.batch_section import batch_html, fair_html, target_html
from orchestrator.report.columns import Column, training_columns, variant_columns
from orchestrator.report.plots.deployment import Plot, batch_colors, compression_symbols, deployment_plots
from orchestrator.report.plots.rates import rate_plots
from orchestrator.report.plots.training import accuracy_plot, curve_plots, speed_plot, target_plots
from orchestrator.report.style import CSS
from orchestrator.report.terminal import (
    heading,
    legend,
    machine_sentences,
    test_words,
    training_title,
    trainings,
    warnings,
)
from orchestrator.wording.reasons import label
from orchestrator.wording.recommendation import caveats, reasons
from orchestrator.wording.runner_up import why_not

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
SYMBOL_SIGNS = {
    "circle": "●", "square": "■", "diamond": "◆", "triangle-up": "▲", "cross": "✚", "x": "✖", "star": "★",
    "hexagon": "⬢", "triangle-down": "▼", "pentagon": "⬟",
}  # fmt: skip
DRAW = """
for (const holder of document.querySelectorAll('.plot')) {
  const figure = JSON.parse(holder.querySelector('script').textContent);
  Plotly.newPlot(holder, figure.data, figure.layout, {responsive: true, displayModeBar: false});
}
"""
escape = html.escape


def to_page(comparison: Comparison) -> str:
    """The whole page, about 5 MB of it the drawing library."""
    name = escape(comparison.table.plan.name)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{name}: Paretune</title><style>{CSS}</style></head><body><main>",
            *_head(comparison),
            *_choice(comparison),
            *batch_html(comparison),
            *_compression(comparison),
            *_training(comparison),
            *_trials(comparison),
            "</main>",
            f"<script>{get_plotlyjs()}</script><script>{DRAW}</script>",
            "</body></html>",
        ]
    )


def _head(comparison: Comparison) -> list[str]:
    first, _, second = heading(comparison.table).plain.partition("\n")
    return [f"<h1>{escape(first.partition(':')[0])}</h1>",
            f'<p class="soft">{escape(first.partition(":")[2].strip())}<br>{escape(second)}</p>']  # fmt: skip


def _choice(comparison: Comparison) -> list[str]:
    """The recommendation, or that there is none."""
    found, table = comparison.recommendation, comparison.table
    if found.row is None or found.configuration is None:
        return [
            '<section class="card choice none"><h2>No recommendation</h2>',
            *_list(reasons(table, found)),
            *_list(caveats(table, found.caveats), "mind"),
            "</section>",
        ]
    parts = [
        f'<section class="card choice"><h2>Recommended: {escape(label(table, found.configuration))}</h2>',
        _facts(comparison, found.configuration, found.row),
        *_list(reasons(table, found)),
    ]
    if found.runner_up is not None:
        second = found.runner_up
        what = escape(label(table, second.configuration))
        parts.append(
            f"<p><b>Runner-up:</b> {what} (trial {second.row.id}). Why not: {escape(why_not(table, second))}.</p>"
        )
    parts += _list(caveats(table, found.caveats), "mind")
    parts.append(f"<p><b>Test data:</b> {escape(test_words(comparison))}.</p></section>")
    return parts


def _facts(comparison: Comparison, configuration: Configuration, row: Row) -> str:
    objective, training = comparison.table.plan.objective.metric, configuration.training
    facts = {
        "trial": row.id,
        "batch size": str(training.batch_size),
        "learning rate": f"{training.learning_rate:.4g}",
        "precision": training.precision,
        "workers": str(training.num_workers),
    }
    if configuration.compression:
        facts["compression"] = configuration.compression
    if (summary := configuration.summary(objective)) is not None:
        facts[objective] = summary_words(objective, summary)
    if (size := configuration.summary("artifact_bytes")) is not None:
        facts["file"] = quantity("artifact_bytes", size.mean)
    for batch, latencies in comparison.evidence.latencies_ms.items():
        if (took := latencies.get(configuration.key)) is not None:
            facts[f"latency at batch {batch}"] = quantity("latency_ms", took.mean)
    return f"<dl>{''.join(f'<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>' for k, v in facts.items())}</dl>"


def _compression(comparison: Comparison) -> list[str]:
    table = comparison.table
    if not table.variants:
        return []
    signs = "".join(
        f"<span>{SYMBOL_SIGNS[symbol]} {escape(chain)}</span>"
        for chain, symbol in compression_symbols(comparison).items()
    )
    compressed = {c.training.batch_size for c in table.variants}
    colors = "".join(
        f'<span><i class="dot" style="background:{color}"></i>batch {size}</span>'
        for size, color in batch_colors(comparison).items()
        if size in compressed
    )
    shown = [c for c in table.variants if c.measured]
    return [
        "<h2>Compressed models</h2>",
        '<p class="soft">Every model was exported, loaded in a fresh process, and measured there'
        f"{escape(measured_on(table.variants))}.</p>",
        f'<div class="key">{signs}</div><div class="key">{colors}</div>',
        *_plots(deployment_plots(comparison)),
        "<h2>Each of them</h2>" if shown else "",
        *_table(comparison, variant_columns(comparison), shown),
        *_list(warnings(comparison)),
        f'<p class="soft">{escape(legend(comparison).plain).replace(chr(10), "<br>")}</p>',
    ]


def _training(comparison: Comparison) -> list[str]:
    if not comparison.table.baselines:
        return []
    return [
        f"<h2>{escape(training_title(comparison))}</h2>",
        *_table(comparison, training_columns(comparison), trainings(comparison)),
        *_list(machine_sentences(comparison)),
        *target_html(comparison),
        *fair_html(comparison),
        "<h2>What the batch size does</h2>",
        *_plots(
            [*target_plots(comparison), accuracy_plot(comparison), *rate_plots(comparison), speed_plot(comparison)]
        ),
        "<h2>Learning curves</h2>",
        *_plots(curve_plots(comparison)),
    ]


def _trials(comparison: Comparison) -> list[str]:
    """Every trial in a few words, folded away."""
    metric = comparison.table.plan.objective.metric
    lines = []
    for configuration in comparison.table.configurations:
        for row in configuration.rows:
            value = row.value(metric)
            reason = row.result.reason if row.result and row.result.reason else ""
            cells = [row.id, row.kind, label(comparison.table, configuration), str(row.seed),
                     row.status.replace("_", " "), "-" if value is None else number(value), reason]  # fmt: skip
            lines.append("<tr>" + "".join(f'<td class="left">{escape(cell)}</td>' for cell in cells) + "</tr>")
    heads = "".join(
        f'<th class="left">{escape(head)}</th>'
        for head in ("trial", "kind", "what", "seed", "status", metric, "reason")
    )
    trials = f"All {count} trials" if (count := len(comparison.table.rows)) > 1 else "The one trial"
    return [
        f"<details><summary>{trials}</summary>",
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>',
        "</details>",
    ]


# -- pieces -----------------------------------------------------------------------------------------------------------


def _list(sentences: Sequence[str], kind: str = "") -> list[str]:
    if not sentences:
        return []
    title = '<p class="mind"><b>To keep in mind</b></p>' if kind == "mind" else ""
    return [title, "<ul>", *(f"<li>{escape(sentence)}</li>" for sentence in sentences), "</ul>"]


def _table(comparison: Comparison, columns: Sequence[Column], rows: Sequence[Configuration]) -> list[str]:
    if not rows:
        return ["<p>Nothing has been measured yet.</p>"]
    left: Callable[[Column], str] = lambda column: ' class="left"' if column.left else ""  # noqa: E731
    heads = "".join(f"<th{left(column)}>{escape(column.title)}</th>" for column in columns)
    lines = []
    for row in rows:
        chosen = ' class="chosen"' if row == comparison.recommendation.configuration else ""
        cells = "".join(f"<td{left(column)}>{escape(column.cell(row))}</td>" for column in columns)
        lines.append(f"<tr{chosen}>{cells}</tr>")
    return [f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>']


def _plots(plots: Sequence[Plot]) -> list[str]:
    return ['<div class="plots">', *map(_plot, plots), "</div>"]


def _plot(plot: Plot) -> str:
    if plot.figure is None:
        body = f'<p class="soft">{escape(plot.missing)}</p>'
    else:
        # A "<" inside a script element could end it; in JSON it may be written otherwise.
        figure = json.dumps(json.loads(plot.figure.to_json())).replace("<", "\\u003c")
        body = (
            f'<div class="plot"><script type="application/json">{figure}</script></div>'
            f'<p class="soft">{escape(plot.caption)}</p>'
        )
    return f'<section class="card"><h3>{escape(plot.title)}</h3>{body}</section>'
