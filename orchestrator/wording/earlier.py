"""The note, before a run, about earlier results that no longer count."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.analysis.plan_file import Change


def earlier_words(left_behind: Mapping[Change, int]) -> str:
    """`earlier trials of this sweep do not count: 12 had other data`; empty where there are none."""
    counts = [f"{count} had other {change}" for change, count in left_behind.items()]
    return f"earlier trials of this sweep do not count: {', '.join(counts)}" if counts else ""
