"""The base classes of settings and of results. They differ in how they treat NaN."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FrozenConfig(BaseModel):
    """Settings: immutable, no unknown keys, no infinity and no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FrozenResult(BaseModel):
    """Results: immutable, no unknown keys; an infinity or a NaN that was really seen is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
