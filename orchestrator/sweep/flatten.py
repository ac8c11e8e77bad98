"""Nested settings as flat ones, for MLflow and for the columns of a table: `noise_scale.every_steps`."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

Leaf = bool | int | float | str | None


def leaves(value: JsonValue, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Leaf]]:
    """Every single value with its name; an item of a list by its index: `batch_schedule.fractions.0`."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from leaves(inner, (*path, key))
        case list():
            for index, inner in enumerate(value):
                yield from leaves(inner, (*path, str(index)))
        case _:
            yield ".".join(path), value
