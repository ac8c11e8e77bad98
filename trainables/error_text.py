"""An exception in one line, with the place in the user's own code that it came from."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

OUR_SOURCES = Path(__file__).resolve().parents[1]


class TrialWarning(UserWarning):
    """A warning that also goes into the trial's result, where a comparison shows it."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something; its type's name where none does."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def kind_and_line(error: BaseException) -> str:
    """The type and the first line, to stand in brackets behind a sentence of ours: `KeyError: 'a.weight'`."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def own_place(error: BaseException) -> str:
    """` (wine.py, line 12, in losses)`: the innermost place that is neither ours nor a library's; empty if none is."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_installed(Path(frame.filename).resolve())]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name})" if own else ""


def _is_installed(file: Path) -> bool:
    return (
        file.is_relative_to(OUR_SOURCES / "orchestrator")
        or file.is_relative_to(OUR_SOURCES / "trainables")
        or ("site-packages" in file.parts or file.is_relative_to(Path(sys.base_prefix) / "lib"))
    )
