"""The two bases of what is written down: settings, and results. They differ in what they make of a NaN."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FrozenConfig(BaseModel):
    """Settings: immutable, no unknown keys, no infinity and no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FrozenResult(BaseModel):
    """Results: immutable, no unknown keys; an infinity or a NaN that was really seen is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
