"""Reads a YAML file into plain values, strictly, and remembers the line of every key.

The rules are stricter than YAML's, to avoid surprises: `1e-3` is a number; `yes`, `010`, `0o17`, `12:30` and
`2024-01-01` are text; a mapping must not repeat a key; a file holds one document, without tags. This module walks the
parser's events itself, because the library's own constructor accepts duplicate keys silently, recurses without a limit,
and expands aliases without a limit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from orchestrator.diagnostics.problem import Path, Problem, SweepError, join_path
from orchestrator.diagnostics.yaml_slips import not_yaml, odd_space

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 24  # a sweep file needs 7
MAX_NODES = 50_000  # after aliases are expanded
MAX_DIGITS = 300  # a longer whole number may exceed every float, and cannot be meant in a sweep

_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9_]*)(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.?(inf|infinity|nan)", re.IGNORECASE)
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Document:
    """The plain content of a file, and the line of each key or list item.

    `spots`: values that are invalid in themselves (a number that is not finite, a repeated key). `content` has a
    substitute for them, or leaves them out, so that the rest of the file can still be checked.
    """

    content: Any
    lines: dict[Path, int]
    spots: tuple[tuple[Path, Problem], ...] = ()


def read_yaml(path: FilePath) -> Document:
    """The content of a YAML file. Raises SweepError: unreadable, too big, not UTF-8, not YAML, too deep, ..."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SweepError([Problem("", str(path), f"cannot be read: {error.strerror}")], str(path)) from None
    if len(raw) > MAX_FILE_BYTES:
        raise SweepError([Problem("", None, f"is larger than {MAX_FILE_BYTES} bytes")], str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        message = f"is not UTF-8 text: byte {raw[error.start]:#04x} at position {error.start}; save it as UTF-8"
        raise SweepError([Problem("", None, message, line=line)], str(path)) from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str = "the sweep file") -> Document:
    """Like `read_yaml`, for text. An empty document is an error."""
    reader = _Reader(text.split("\n"))
    try:
        content = reader.document(_events(text))
    except yaml.YAMLError as error:
        reader.problems.append(not_yaml(error, text))
    except _TooMuchError as stop:
        reader.problems.append(stop.problem)
    if reader.problems:
        raise SweepError([*(problem for _, problem in reader.spots), *reader.problems], source)
    return Document(content, reader.lines, tuple(reader.spots))


def plain_scalar(text: str) -> str | bool | int | float | None:
    """The value of a scalar without quotes. Raises ValueError for a number that is not finite."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if len(text) <= MAX_DIGITS and _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if not (_FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text)):
        return text
    number = float(text.replace("_", "")) if _FLOAT.fullmatch(text) else math.nan
    if not math.isfinite(number):
        raise ValueError("is not a finite number")
    return number


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _events(text: str) -> Iterator[Any]:
    events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
    return events


class _TooMuchError(Exception):
    """Stops reading at once: the file is far larger or deeper than a sweep file can be."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


@dataclass
class _Reader:
    text: list[str]  # the lines of the file
    problems: list[Problem] = field(default_factory=list)  # problems of the file as a whole
    spots: list[tuple[Path, Problem]] = field(default_factory=list)
    lines: dict[Path, int] = field(default_factory=dict)
    anchors: dict[str, tuple[Any, int] | None] = field(default_factory=dict)  # value and size; None: still open
    nodes: int = 0

    def document(self, events: Iterator[Any]) -> Any:
        content: Any = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    line = _line(event)
                    self.problems.append(Problem("", None, "holds more than one YAML document; keep one", line=line))
                    break
                content = self.value(next(events), events, ())
        if documents == 0 or content is None:
            self.problems.append(Problem("", None, "is empty; it must hold a mapping with name, task, budget, ..."))
        return content

    def value(self, event: Any, events: Iterator[Any], path: Path) -> Any:
        line = _line(event)
        self.count(1, path, line)
        if len(path) > MAX_DEPTH:
            raise _TooMuchError(Problem(join_path(path[:4]), None, f"is nested deeper than {MAX_DEPTH}", line=line))
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(event.anchor), path, line)
        if event.tag not in (None, "!"):
            self.fail(path, event.tag, "carries a YAML tag; tags are not used in a sweep file", line)
        before = self.nodes
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.MappingStartEvent):
            value: Any = self.mapping(events, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(events, path)
        else:
            value = self.scalar(event, path, line)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, self.nodes - before + 1)
        return value

    def alias(self, name: str, path: Path, line: int) -> Any:
        if name not in self.anchors:
            self.fail(path, f"*{name}", "names an anchor that does not exist before it", line)
            return None
        anchor = self.anchors[name]
        if anchor is None:
            raise _TooMuchError(Problem(join_path(path), f"*{name}", "contains itself", line=line))
        value, size = anchor
        self.count(size, path, line)
        return value

    def mapping(self, events: Iterator[Any], path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            line = _line(event)
            if not isinstance(event, yaml.ScalarEvent):
                key_value = self.value(event, events, (*path, "?"))
                self.fail(path, key_value, "has a key that is not plain text", line)
                key = f"?{len(result)}"
            else:
                key = event.value
                self.look_for_odd_spaces(event)
            value = self.value(next(events), events, (*path, key))
            if key in first_lines:
                message = f"is given twice, on line {first_lines[key]} and on line {line}; keep one"
                self.fail((*path, key), None, message, line)
                continue
            first_lines[key] = line
            self.lines[(*path, key)] = line
            result[key] = value
        return result

    def sequence(self, events: Iterator[Any], path: Path) -> list[Any]:
        result: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            here = (*path, len(result))
            self.lines[here] = _line(event)
            result.append(self.value(event, events, here))
        return result

    def scalar(self, event: Any, path: Path, line: int) -> str | bool | int | float | None:
        text: str = event.value
        if not event.implicit[0]:  # quoted, or a block: always text
            return text
        self.look_for_odd_spaces(event)
        try:
            return plain_scalar(text)
        except ValueError as error:
            self.fail(path, text, str(error), line)
            return None

    def look_for_odd_spaces(self, event: Any) -> None:
        """Check text without quotes for unusual spaces; plain ASCII cannot contain any."""
        if event.implicit[0] and not event.value.isascii() and (problem := odd_space(self.text, event)):
            self.problems.append(problem)

    def count(self, nodes: int, path: Path, line: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            message = f"holds more than {MAX_NODES} values once its aliases are expanded"
            raise _TooMuchError(Problem(join_path(path[:4]), None, message, line=line))

    def fail(self, path: Path, value: object, message: str, line: int) -> None:
        self.spots.append((path, Problem(join_path(path), value, message, line=line)))
