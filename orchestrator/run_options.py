"""What `run` and `submit` are both told: one list, so that a sweep can be run on a cluster in every way it can here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import typer

RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")]


@dataclass(frozen=True)
class RunOptions:
    """How a sweep is run, wherever that is. A field is an option of `run` and of `submit`, of the same name."""

    retry_failed: bool = False

    def words(self) -> tuple[str, ...]:
        """As they are written on the command line of `run`: what differs from the default."""
        return tuple(_option(field.name) for field in dataclasses.fields(self) if getattr(self, field.name))


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"
