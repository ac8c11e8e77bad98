"""What every configuration and every result is, before anything else."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of every configuration and result: immutable, no unknown keys, no infinities or NaN smuggled in."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
