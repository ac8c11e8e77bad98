"""What a task says of a column whose values do not go to the model as they lie in the file. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stored:
    """Numbers of the very type that they are stored in, such as float64 for a model in double precision."""


Column = Stored
COLUMN_KINDS: dict[str, type[Column]] = {"Stored": Stored}
