"""What a sweep's probes found, in a line each: which micro-batch fits, and how fast it is."""

from __future__ import annotations

from orchestrator.analysis.format import quantity
from orchestrator.analysis.table import ProbeRow, SweepTable
from orchestrator.sweep.labels import probe_words

SPEED = "examples_per_second_micro_batch_"


def probe_lines(table: SweepTable) -> list[str]:
    """One line for each: `float32, sgd, 1 worker: up to 128 rows fit (44.2 MB); 5,210 examples/s at 64`."""
    return [f"  {probe_words(row.config)}: {_found(row)}" for row in table.probes]


def _found(row: ProbeRow) -> str:
    if row.result is None:
        return row.status
    metrics = row.result.metrics
    limit = metrics.get("largest_micro_batch_size")
    if limit is None or limit.value < 1:
        return f"{row.status.replace('_', ' ')}{f' ({row.result.reason})' if row.result.reason else ''}"
    fits = f"micro-batches of up to {limit.value:,.0f} fit"
    speeds = {int(name.removeprefix(SPEED)): e.value for name, e in metrics.items() if name.startswith(SPEED)}
    if not speeds:
        return fits
    best = max(speeds, key=lambda size: speeds[size])
    return f"{fits}; fastest with {best:,}: {quantity('examples_per_second', speeds[best])} examples/s"
