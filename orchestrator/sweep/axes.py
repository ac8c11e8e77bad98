"""The axes of a sweep: a row for each field of `Training` that has a `Setting`, made from its type and its default.

The code that reads a sweep file, makes the grid, shows the plan, labels trials, compares them or documents them uses
these rows, so a new setting is one field of `Training`. Settings with rules of their own are not here: batch size,
learning rate and seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel

from trainables.config.base import union_members
from trainables.config.setting import Setting
from trainables.config.training import Training


@dataclass(frozen=True)
class NumberRange:
    """A number from `low` to `high`, including the ends unless stated otherwise."""

    is_whole: bool
    low: float
    high: float
    without_low: bool = False
    without_high: bool = False


@dataclass(frozen=True)
class WordChoice:
    """One of several words."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class NamedSection:
    """One of several sets of settings, distinguished by their `name`."""

    members: Mapping[str, type[BaseModel]]


@dataclass(frozen=True)
class NameList:
    """Any words, several together being one value: `[bias, norm]`."""


AxisKind = NumberRange | WordChoice | NamedSection | NameList


@dataclass(frozen=True)
class Axis:
    """One setting of a training; a sweep tries one or several values of it."""

    name: str  # its name in the sweep file, and in `Training`
    type: Any  # type of one value, from `Training`
    default: Any
    kind: AxisKind
    may_be_off: bool  # whether null is a value
    setting: Setting

    def words(self, training: Training) -> str:
        """The value of this setting in a training, as text: `bfloat16`, `2 workers`, `adamw weight_decay=0.1`."""
        value = getattr(training, self.name)
        if isinstance(value, BaseModel):
            return _changed(value)
        if value in self.setting.words_of:
            return self.setting.words_of[value]
        name = self.name.replace("_", " ")
        if value is None:
            return f"no {name}"
        if self.setting.words:
            return self.setting.words.format(_plain(value) if isinstance(value, tuple) else value)
        return value if isinstance(value, str) else f"{name} {value:g}"


def _axes_of(training: type[BaseModel]) -> tuple[Axis, ...]:
    """Raises TypeError if a field with a `Setting` has a type that a sweep file cannot give."""
    types, schemas = get_type_hints(training, include_extras=True), training.model_json_schema()["properties"]
    rows = []
    for name, info in training.model_fields.items():
        for setting in info.metadata:
            if isinstance(setting, Setting):
                schema, may_be_off = _without_null(schemas[name])
                kind = _kind(name, types[name], schema, setting)
                rows.append(Axis(name, types[name], info.default, kind, may_be_off, setting))
    return tuple(rows)


def _without_null(schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    match schema:
        case {"anyOf": [inner, {"type": "null"}]}:
            return inner, True
        case _:
            return schema, False


def _kind(name: str, type_: Any, schema: dict[str, Any], setting: Setting) -> AxisKind:
    match schema:
        case {"discriminator": _}:
            return NamedSection(union_members(type_, "name"))
        case {"type": "array", "items": {"type": "string"}}:
            return NameList()
        case {"enum": names}:
            return WordChoice(tuple(names))
        case {"type": "integer"}:
            low = schema.get("minimum", schema.get("exclusiveMinimum", -setting.at_most - 1) + 1)
            high = schema.get("maximum", schema.get("exclusiveMaximum", setting.at_most + 1) - 1)
            return NumberRange(True, int(low), int(high))
        case {"type": "number"}:
            return NumberRange(
                False,
                schema.get("minimum", schema.get("exclusiveMinimum", -setting.at_most)),
                schema.get("maximum", schema.get("exclusiveMaximum", setting.at_most)),
                without_low="exclusiveMinimum" in schema,
                without_high="exclusiveMaximum" in schema,
            )
        case _:
            raise TypeError(f"Training.{name} is no axis: it must be a number, words or a tagged union")


def _changed(choice: BaseModel) -> str:
    """A choice and its settings that differ from the defaults: `adamw weight_decay=0.1`."""
    name, changed = choice.model_dump()["name"], choice.model_dump(exclude={"name"}, exclude_defaults=True)
    return " ".join([name, *(f"{key}={_plain(value)}" for key, value in changed.items())])


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_plain, value))
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_plain(inner)}" for key, inner in value.items())
    return f"{value:g}" if isinstance(value, int | float) else str(value)


AXES = _axes_of(Training)
