"""Common mistakes that a YAML parser reports unclearly or not at all: tabs, odd spaces, zeros before a number."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import yaml

from orchestrator.diagnostics.problem import Problem, shown_value

OCTAL = re.compile(r"[-+]?0+[1-7][0-7]+")
LEADING_ZEROS = re.compile(r"([-+]?)0+(\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?)")
WITHOUT_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"


def leading_zero(text: str, kind: str) -> str | None:
    """The advice for a number with a leading zero, such as `016`; None for any other text."""
    found = LEADING_ZEROS.fullmatch(text.strip())
    if found is None:
        return None
    number = found[1] + found[2]
    octal = f": some readers of YAML take it for octal, {int(text, 8)}" if OCTAL.fullmatch(text.strip()) else ""
    return f"begins with a zero, so it is text and not {kind}{octal}; write {number}"


def odd_space(lines: Sequence[str], event: Any) -> Problem | None:
    """A problem for an unusual space in text without quotes: YAML reads it as a letter, so it separates nothing."""
    start, end = event.start_mark, event.end_mark
    for number in range(start.line, min(end.line + 1, len(lines))):
        first = start.column if number == start.line else 0
        last = end.column if number == end.line else len(lines[number])
        for column, character in enumerate(lines[number][first:last], first + 1):
            if (unicodedata.category(character) == "Zs" and character != " ") or character in WITHOUT_WIDTH:
                name = unicodedata.name(character, "odd space").lower()
                return Problem(
                    "",
                    None,
                    f"holds a {name} (U+{ord(character):04X}) in column {column}, which YAML reads as a letter: "
                    "replace it by a space, or put the text around it in quotes",
                    line=number + 1,
                )
    return None


def not_yaml(error: yaml.YAMLError, text: str) -> Problem:
    """The problem behind a parser's error, with its place in the file."""
    if isinstance(error, yaml.reader.ReaderError):  # its position is in bytes, so no line is known
        before = text.encode("utf-8", "surrogatepass")[: error.position]
        where = before.count(b"\n") + 1
        message = f"is not YAML: it holds the character U+{error.character:04X}, which YAML forbids; remove it"
        return Problem("", None, message, line=where)
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem("", None, f"is not YAML: {shown_value(' '.join(str(error).split()))}")
    mark: Any = error.problem_mark or error.context_mark
    what = " ".join(part for part in (error.context, error.problem) if part)
    if mark is None:
        return Problem("", None, f"is not YAML: {what}")
    line = text.split("\n")[mark.line] if mark.line <= text.count("\n") else ""
    indent = line[: len(line) - len(line.lstrip(" \t"))]
    if "\t" in indent and mark.column <= len(indent):
        what = f"has a tab in column {indent.find(chr(9)) + 1}, but YAML is indented with spaces; replace it by spaces"
        return Problem("", None, f"is not YAML: {what}", line=mark.line + 1)
    return Problem("", None, f"is not YAML: {what} (column {mark.column + 1})", line=mark.line + 1)
