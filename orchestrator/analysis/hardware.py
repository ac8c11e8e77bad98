"""The hardware of a sweep: its seconds and milliseconds hold for that hardware alone."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.analysis.rows import Row


def machine(row: Row) -> str | None:
    """The hardware of a trial's timings: the accelerator or the processor; for a variant, of its measuring process."""
    environment = _environment(row)
    device = environment.get("device", environment.get("measure_device"))
    return environment.get("cpu", device) if device == "cpu" else device


def threads(row: Row) -> int | None:
    """The number of CPU threads on which a variant was measured, since the whole processor would be faster."""
    environment = _environment(row)
    return int(environment["measure_threads"]) if environment.get("measure_device") == "cpu" else None


def _environment(row: Row) -> Mapping[str, str]:
    return row.result.environment if row.result else {}
