"""The problems of a sweep file: they are collected, so that a person sees all of them at once.

SweepError(ValueError)     the file cannot be used; carries
  Problem                  one invalid key or value: its place, the value, what is allowed, the nearest valid name
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from trainables.errors import InputError

Path = tuple[str | int, ...]

SHOWN_CHARACTERS = 60  # characters of a value; a pasted file must not flood the terminal
SHOWN_PROBLEMS = 100  # problems shown in full; more are most likely repetitions, and JSON has them all


@dataclass(frozen=True)
class Problem:
    """One problem. `path` is empty if it concerns the file as a whole."""

    path: str  # "parameters.batch_size.values[2]"
    value: object
    message: str
    allowed: str = ""
    nearest: str | None = None  # the valid name that is most similar to the given one
    line: int | None = None  # first line is 1

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        shown = f" = {shown_value(self.value)}" if self.path and self.value is not None else ""
        key = f"{self.path}{shown}: " if self.path else ""
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{where}{key}{self.message}{allowed}{hint}"

    def as_json(self) -> dict[str, Any]:
        """The problem as a JSON object; a very long value is shortened."""
        value = self.value if isinstance(self.value, bool | int | float | type(None)) else shown_value(self.value)
        if isinstance(self.value, int) and len(shown_value(self.value)) > SHOWN_CHARACTERS:
            value = shown_value(self.value)
        return {
            "path": self.path,
            "line": self.line,
            "value": value,
            "message": self.message,
            "allowed": self.allowed,
            "nearest": self.nearest,
        }


class SweepError(InputError):
    """A sweep file that cannot be used. `problems` holds all its problems, in the order of the file."""

    def __init__(self, problems: Iterable[Problem], source: str = "the sweep file") -> None:
        self.problems = tuple(problems)
        self.source = source
        count = f"{len(self.problems)} problems" if len(self.problems) > 1 else "a problem"
        lines = [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"  and {len(self.problems) - SHOWN_PROBLEMS} more")
        super().__init__("\n".join([f"{source} has {count}:", *lines]))

    def as_json(self) -> str:
        """A JSON object: {"source", "problems": [{"path", "line", "value", "message", "allowed", "nearest"}]}."""
        problems = [problem.as_json() for problem in self.problems]
        return json.dumps({"source": self.source, "problems": problems}, indent=2)


def shown_value(value: object) -> str:
    """A value in the notation of a sweep file, cut to a readable length."""
    try:
        text = value if isinstance(value, str) and value.isprintable() and value else repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        text = "a number of more than 4300 digits"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def join_path(path: Path) -> str:
    """The path as text: `("parameters", "batch_size", "values", 2)` is `parameters.batch_size.values[2]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{shown_value(repr(part))}]"
    return text


def closest_name(name: object, names: Iterable[str]) -> str | None:
    """The entry of `names` that is most similar to `name`; None if none is similar."""
    by_folded = {candidate.lower().replace("-", "_"): candidate for candidate in names}
    folded = str(name)[:200].lower().replace("-", "_")
    found = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None
