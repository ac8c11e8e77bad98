"""A value of the sweep file together with its place in the file: reading it collects problems and never raises.

Every reader notes a problem for an invalid value and returns None (or leaves the item out). So one pass over the file
finds all problems, and the rules that span several keys can still be checked on the valid parts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from orchestrator.diagnostics.problem import Path, Problem, closest_name, join_path
from orchestrator.diagnostics.schema_text import MAX_AXIS_VALUES, UNKNOWN_KEY, explain, upper_bound_problems
from orchestrator.diagnostics.yaml_slips import leading_zero
from orchestrator.sweep.spec import GoalType
from orchestrator.text import listing

T = TypeVar("T")
C = TypeVar("C", bound=str)
M = TypeVar("M", bound=BaseModel)

_NUMERAL = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")


@dataclass
class Findings:
    """The problems found so far, and the line of every key."""

    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[tuple[Path, Problem]] = field(default_factory=list)

    def line(self, path: Path) -> int | None:
        """The line of the key, or of the closest one around it (a missing key has no line of its own)."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def take(self, spots: Sequence[tuple[Path, Problem]]) -> None:
        """Note values that the file's reader found invalid; drop other problems there: they concern a substitute."""

        def is_new(path: Path) -> bool:
            return not any(path[: len(spot)] == spot for spot, _ in spots)

        self.problems = [*spots, *(found for found in self.problems if is_new(found[0]))]

    def in_file_order(self) -> list[Problem]:
        """The problems sorted by line and, within a line, by path; without repetitions."""

        def place(entry: tuple[Path, Problem]) -> tuple[int, list[tuple[int, str]]]:
            path, problem = entry
            parts = [(part, "") if isinstance(part, int) else (-1, part) for part in path]
            return problem.line or 0, parts

        unique = {(path, str(problem)): problem for path, problem in self.problems}
        return [problem for _, problem in sorted(((path, p) for (path, _), p in unique.items()), key=place)]


@dataclass(frozen=True)
class Node:
    """One value of the file."""

    value: Any
    path: Path
    findings: Findings

    def fail(
        self,
        message: str,
        *,
        allowed: str = "",
        close_to: Iterable[str] = (),
        near: str | None = None,
        at: Path = (),
    ) -> None:
        """Note a problem with this value, or with the value `at` a path below it."""
        path = (*self.path, *at)
        value = self.value
        for part in at:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                value = None
        if near is None and isinstance(value, str):
            near = closest_name(value, close_to)
        problem = Problem(join_path(path), _shown(value), message, allowed, near, self.findings.line(path))
        self.findings.problems.append((path, problem))

    def child(self, *at: str | int) -> Node:
        """The value at a path below this one. Raises KeyError or IndexError."""
        value = self.value
        for part in at:
            value = value[part]
        return Node(value, (*self.path, *at), self.findings)

    def has_problems(self) -> bool:
        """Whether a problem has been noted for this value, or for one within it."""
        return any(path[: len(self.path)] == self.path for path, _ in self.findings.problems)

    def mapping(self, allowed: Iterable[str], required: Iterable[str] = ()) -> dict[str, Node] | None:
        """The known keys of a mapping; unknown and missing ones are noted. None if the value is not a mapping."""
        allowed = list(allowed)
        if not isinstance(self.value, dict):
            self.fail("must be a mapping" if self.value is not None else "is empty", allowed=listing(allowed))
            return None
        for key in self.value:
            if key not in allowed:
                self.fail(UNKNOWN_KEY, allowed=listing(allowed), near=closest_name(key, allowed), at=(key,))
        for key in required:
            if key not in self.value:
                self.fail("is missing", allowed=_ALLOWED_WHEN_MISSING.get(key, ""), at=(key,))
        return {key: self.child(key) for key in self.value if key in allowed}

    def items(self) -> list[Node] | None:
        """The items of a non-empty list."""
        if not isinstance(self.value, list):
            self.fail("must be a list, written [a, b, c]")
            return None
        if not self.value:
            self.fail("is an empty list; give at least one item, or leave the key out")
            return None
        return [self.child(index) for index in range(len(self.value))]

    def text(self) -> str | None:
        if isinstance(self.value, str) and self.value.strip():
            return self.value
        self.fail("must be non-empty text")
        return None

    def choice(self, names: Iterable[C]) -> C | None:
        """One of `names`."""
        names = list(names)
        for name in names:
            if self.value == name:
                return name
        self.fail("is not one of the choices", allowed=listing(names), close_to=names)
        return None

    def integer(self, low: int, high: int) -> int | None:
        """A whole number from `low` to `high`; `1e4` is a whole number, `true` is not."""
        number = with_whole_numbers(self.value)
        if isinstance(number, int) and not isinstance(number, bool) and low <= number <= high:
            return number
        self.fail(_not_in_range(number, whole_number=True), allowed=f"whole numbers from {low} to {high}")
        return None

    def number(self, low: float, high: float, *, with_low: bool = False, with_high: bool = True) -> float | None:
        """A number between `low` and `high`; `with_low` and `with_high` say whether the ends are allowed."""
        is_end = (self.value == low and not with_low) or (self.value == high and not with_high)
        if _is_number(self.value) and low <= self.value <= high and not is_end:
            return float(self.value)
        ends = f"{'from' if with_low else 'above'} {low:g}, {'up to' if with_high else 'below'} {high:g}"
        self.fail(_not_in_range(self.value, whole_number=False), allowed=f"numbers {ends}")
        return None

    def model(self, cls: type[M], *, without: Iterable[str] = ()) -> M | None:
        """A mapping read into a configuration class; every error of the class becomes a problem with its own path."""
        fields = [name for name in cls.model_fields if name not in set(without)]
        known = self.mapping(fields)
        if known is None:
            return None
        content = {key: with_whole_numbers(node.value) for key, node in known.items()}
        try:
            read = cls.model_validate_json(json.dumps(content), strict=True)
        except ValidationError as error:
            for path, message, allowed, names in explain(error, cls):
                near = closest_name(path[-1], names) if message == UNKNOWN_KEY else None
                self.fail(message, allowed=allowed, close_to=names, near=near, at=path)
            return None
        too_big = list(upper_bound_problems(read, content))
        for path, message, allowed in too_big:
            self.fail(message, allowed=allowed, at=path)
        return None if too_big else read


@dataclass(frozen=True)
class Placed(Generic[T]):
    """A value that was read, and its place in the file, for the rules that are checked later."""

    value: T
    node: Node


def read_axis(node: Node, read: Callable[[Node], T | None]) -> list[Placed[T]]:
    """The valid values of a scalar, or of `{values: [...]}`. Duplicates are noted."""
    if isinstance(node.value, list):
        node.fail("must be one value or a mapping; several values are written {values: [...]}")
        return []
    if not is_axis(node.value):
        return _read_one(node, read)
    keys = node.mapping(["values"])
    items = keys["values"].items() if keys and "values" in keys else None
    if items and len(items) > MAX_AXIS_VALUES:
        node.fail(f"has {len(items)} values", allowed=f"at most {MAX_AXIS_VALUES}")
        return []
    given = [Placed(value, item) for item in items or () if (value := read(item)) is not None]
    refuse_duplicates(given)
    return given


def is_axis(value: Any, other_keys: Iterable[str] = ()) -> bool:
    """Whether this is `{values: [...]}`, or a misspelling: a key that is closer to `values` than to the other keys."""
    names = ["values", *other_keys]
    return isinstance(value, dict) and ("values" in value or "values" in (closest_name(key, names) for key in value))


def _read_one(node: Node, read: Callable[[Node], T | None]) -> list[Placed[T]]:
    """A single value. If it is unreadable but looks like several values in another notation, only that is noted."""
    aside = Findings(node.findings.lines)
    value = read(Node(node.value, node.path, aside))
    if value is None and (several := _several(node.value)):
        node.fail(f"is not one value; several are written {{values: [{', '.join(several)}]}}")
    else:
        node.findings.problems += aside.problems
    return [] if value is None else [Placed(value, node)]


def _several(value: Any) -> list[str]:
    """The values of `16, 32`, which is text in YAML, or of `{16, 32}`, which is a mapping; empty for anything else."""
    if isinstance(value, str) and "," in value and not _THOUSANDS.fullmatch(value):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, dict) and len(value) > 1 and all(content is None for content in value.values()):
        return [str(key) for key in value]
    return []


def refuse_duplicates(given: Iterable[Placed[Any]]) -> None:
    """Note every value that equals an earlier one: it would be the same trial under the same id."""
    seen: dict[str, Node] = {}
    for entry in given:
        key = repr(entry.value)
        if key in seen:
            entry.node.fail(f"is a duplicate of {join_path(seen[key].path)}; remove one")
        else:
            seen[key] = entry.node


def with_whole_numbers(value: Any) -> Any:
    """Turn floats that are whole numbers into integers, at any depth, as people write `1e4` for 10000."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [with_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: with_whole_numbers(item) for key, item in value.items()}
    return value


def _shown(value: Any) -> Any:
    """A value for a message: scalars as they are, anything else as it would be written in the file."""
    return value if isinstance(value, bool | int | float | str | type(None)) else json.dumps(value, default=str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _not_in_range(value: Any, *, whole_number: bool) -> str:
    kind = "a whole number" if whole_number else "a number"
    if isinstance(value, str) and value.strip():
        if problem := leading_zero(value, kind):
            return problem
        without = "commas" if _THOUSANDS.fullmatch(value) else "quotes" if _NUMERAL.fullmatch(value.strip()) else ""
        return f"is text and must be {kind}; write it without {without}" if without else f"must be {kind}"
    if isinstance(value, float) and whole_number:
        return "must be a whole number"
    return "is out of range" if _is_number(value) else f"must be {kind}"


_ALLOWED_WHEN_MISSING = {
    "metric": "the name of a metric, for example val_loss",
    "type": ", ".join(get_args(GoalType)),
    "value": "a number",
    "name": "a name for the sweep, for example digits",
    "task": "a built-in task, or package.module:Class",
    "objective": "{metric: val_loss}, or another metric on validation data",
    "budget": "one of {examples: 40000}, {steps: 1000}, {epochs: 10}, {seconds: 60}",
    "parameters": "a mapping with batch_size and learning_rate",
    "batch_size": "a whole number, {values: [16, 64, 256]}, or auto",
    "learning_rate": "a number, {values: [...]}, or {base: 0.1, at_batch_size: 64, rule: linear}",
}
