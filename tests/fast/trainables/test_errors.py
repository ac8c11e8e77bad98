"""The tree of exceptions: drawn in one docstring, and found in the packages as it is drawn there."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterator

from tests.support.places import ROOT
from trainables import errors

BUILTIN = {name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)}
BUILTIN -= {name for name in BUILTIN if name.endswith("Warning")}


def _defined() -> dict[str, list[str]]:
    """Every exception of the packages -> its bases. Those with a leading underscore never leave their module."""
    found: dict[str, list[str]] = {}
    for file in [*ROOT.glob("trainables/**/*.py"), *ROOT.glob("orchestrator/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name] = [ast.unparse(base) for base in node.bases]
    known = set(BUILTIN)
    while more := {name for name, bases in found.items() if name not in known and known & set(bases)}:
        known |= more
    return {name: bases for name, bases in found.items() if name in known}


def _drawing(below: dict[str, list[str]], bases: dict[str, list[str]], name: str) -> Iterator[str]:
    others = ", ".join(bases[name][1:])
    yield f"{name} ({others})" if others else name
    children = sorted(below[name])
    for place, child in enumerate(children):
        first, rest = ("└── ", "    ") if place == len(children) - 1 else ("├── ", "│   ")
        lines = list(_drawing(below, bases, child))
        yield first + lines[0]
        yield from (rest + line for line in lines[1:])


def test_all_exceptions_are_in_the_tree_as_it_is_drawn() -> None:
    bases = _defined()
    below: dict[str, list[str]] = defaultdict(list)
    for name, parents in bases.items():
        below[parents[0]].append(name)
    assert [name for name in bases if name not in BUILTIN and bases[name][0] in BUILTIN] == ["ParetuneError"]
    drawn = [line[4:] for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")]
    expected = list(_drawing(below, bases, "ParetuneError"))
    assert drawn == expected, "draw it so in trainables/errors.py:\n" + "\n".join(f"    {line}" for line in expected)
