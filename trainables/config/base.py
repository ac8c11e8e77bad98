"""The base classes of settings and of results. They differ in how they treat NaN."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict


class FrozenConfig(BaseModel):
    """Settings: immutable, no unknown keys, no infinity and no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FrozenResult(BaseModel):
    """Results: immutable, no unknown keys; an infinity or a NaN that was really seen is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def union_members(union: Any, tag: str) -> dict[str, Any]:
    """The classes of a tagged union by their tag, in the order in which they are written."""
    classes: tuple[type[BaseModel], ...] = get_args(get_args(union)[0])
    return {str(cls.model_fields[tag].default): cls for cls in classes}


def is_none(value: object) -> bool:
    """For `exclude_if`: a setting that is not given is no part of a trial's id."""
    return value is None
