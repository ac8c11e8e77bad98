"""An exception as one line of text, with the place in the user's own code where it was raised."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

OUR_SOURCES = Path(__file__).resolve().parents[1]


class TrialWarning(UserWarning):
    """A warning that also goes into the trial's result, where a comparison shows it."""


def first_line(error: BaseException) -> str:
    """The first non-empty line of an error's message; the name of its type if there is none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def kind_and_line(error: BaseException) -> str:
    """The type and the first line, to follow our own sentence in brackets: `KeyError: 'a.weight'`."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def own_place(error: BaseException) -> str:
    """` (wine.py, line 12, in losses)`: the innermost place in the user's own code; empty if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_installed(Path(frame.filename).resolve())]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name})" if own else ""


def _is_installed(file: Path) -> bool:
    return (
        file.is_relative_to(OUR_SOURCES / "orchestrator")
        or file.is_relative_to(OUR_SOURCES / "trainables")
        or ("site-packages" in file.parts or file.is_relative_to(Path(sys.base_prefix) / "lib"))
    )
