"""The hardware of a sweep: its seconds and milliseconds hold for that hardware alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.analysis.format import enumeration, plural
from orchestrator.analysis.table import Configuration, Row


def machine(row: Row) -> str | None:
    """The hardware of a trial's timings: the accelerator or the processor; for a variant, of its measuring process."""
    environment = _environment(row)
    device = environment.get("device", environment.get("measure_device"))
    return environment.get("cpu", device) if device == "cpu" else device


def trained_on(configurations: Iterable[Configuration]) -> str:
    """' on an accelerator or a processor', or nothing while no trial has ended."""
    return _words(machine(row) for c in configurations for row in c.rows)


def measured_on(configurations: Iterable[Configuration]) -> str:
    """The same for variants: of a processor, with the number of threads, since the whole of it would be faster."""
    return _words(_measured(row) for c in configurations for row in c.rows)


def _measured(row: Row) -> str | None:
    name, environment = machine(row), _environment(row)
    if name is None or environment.get("measure_device") != "cpu":
        return name
    return f"{plural(int(environment['measure_threads']), 'thread')} of {name}"


def _environment(row: Row) -> Mapping[str, str]:
    return row.result.environment if row.result else {}


def _words(names: Iterable[str | None]) -> str:
    known = sorted({name for name in names if name})
    return f" on {enumeration(known)}" if known else ""
