"""Counts and lists of names for a sentence."""

from __future__ import annotations

from collections.abc import Iterable

SHOWN_NAMES = 24


def plural(count: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listing(names: Iterable[str]) -> str:
    """Names for a message, in the given order; a long list is cut."""
    names = list(names)
    more = f", and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
