"""The description of a setting beside its type: its effect, and the text form of its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Setting:
    """Goes with the type of a field of `Training` that people choose: `Annotated[PositiveFloat | None, Setting(...)]`.

    `words` is the format of one value in a few words, `clip {:g}`; without it, a choice stands for itself and a number
    has its name before it.
    """

    does: str  # for the documentation, with the unit of a number
    words: str = ""
    words_of: Mapping[object, str] = field(default_factory=dict)  # values that `words` does not suit
    at_most: float = 1e12  # where the type has no end: a larger number is a slip of the finger
    needs_workers: bool = False  # has no effect on one worker, whose trial is that of the default
