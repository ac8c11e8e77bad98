"""The base of every configuration. Results have one of their own (`trainables.results`), which allows infinities."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, no unknown keys, no infinities or NaN smuggled in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
