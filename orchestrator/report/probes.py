"""What a sweep's probes found, as lines and as data: which micro-batch fits, and how fast it is."""

from __future__ import annotations

import math
from typing import Any

from orchestrator.analysis.table import ProbeRow, SweepTable
from orchestrator.analysis.words import quantity
from orchestrator.progress import probe_words

SPEED = "examples_per_second_micro_batch_"


def probe_lines(table: SweepTable) -> list[str]:
    """One line for each: `float32, sgd, 1 worker: up to 128 rows fit (44.2 MB); 5,210 examples/s at 64`."""
    return [f"  {probe_words(row.config)}: {_found(row)}" for row in table.probes]


def probe_dicts(table: SweepTable) -> list[dict[str, Any]]:
    """Each as the other trials are given, with its own settings as `params`."""
    return [
        {
            "id": row.id,
            "kind": row.config.kind,
            "parent": None,
            "status": row.status,
            "stage": "probe",
            "params": probe_params(row),
            "metrics": probe_figures(row),
        }
        for row in table.probes
    ]


def probe_params(row: ProbeRow) -> dict[str, bool | int | float | str | None]:
    config = row.config
    return {
        "task": config.task.name,
        "optimizer": config.optimizer.name,
        "precision": config.precision,
        "num_workers": config.num_workers,
        "memory_limit_bytes": config.memory_limit_bytes,
        "max_micro_batch_size": config.max_micro_batch_size,
    }


def probe_figures(row: ProbeRow) -> dict[str, float | None]:
    flat: dict[str, float | None] = {}
    for name, estimate in row.result.metrics.items() if row.result else ():
        flat[name] = estimate.value if math.isfinite(estimate.value) else None
        if estimate.low is not None and estimate.high is not None:
            flat[f"{name}_low"], flat[f"{name}_high"] = estimate.low, estimate.high
    return flat


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
