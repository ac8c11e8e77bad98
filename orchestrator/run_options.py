"""The options that `run` and `submit` share: one list, so that a cluster runs a sweep with the same options."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import typer

RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")]


@dataclass(frozen=True)
class RunOptions:
    """How a sweep is run, here or on a cluster. Each field is an option of `run` and of `submit` with the same name."""

    retry_failed: bool = False

    def words(self) -> tuple[str, ...]:
        """The options that differ from the default, as arguments of `run`."""
        return tuple(_option(field.name) for field in dataclasses.fields(self) if getattr(self, field.name))


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"
