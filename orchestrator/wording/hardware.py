"""The hardware that a sweep was trained and measured on, for the title of a table."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.analysis.hardware import machine, threads
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.wording.format import enumeration, plural


def trained_on(configurations: Iterable[Configuration]) -> str:
    """' on an accelerator or a processor', or nothing while no trial has ended."""
    return _words(machine(row) for c in configurations for row in c.rows)


def measured_on(configurations: Iterable[Configuration]) -> str:
    """The same for variants: of a processor, with the number of threads."""
    return _words(_measured(row) for c in configurations for row in c.rows)


def _measured(row: Row) -> str | None:
    name, count = machine(row), threads(row)
    return name if name is None or count is None else f"{plural(count, 'thread')} of {name}"


def _words(names: Iterable[str | None]) -> str:
    known = sorted({name for name in names if name})
    return f" on {enumeration(known)}" if known else ""
