"""Imports go one way: trainables knows nothing of the orchestrator, and only its worker knows Ray."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.places import ROOT

TRAINABLES = ROOT / "trainables"


def imported(file: Path) -> Iterator[str]:
    """The top-level packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield (node.module or "").partition(".")[0]


def test_trainables_import_neither_the_orchestrator_nor_ray_nor_mlflow() -> None:
    files = sorted(TRAINABLES.rglob("*.py"))
    assert len(files) > 40
    found = {file.relative_to(TRAINABLES).as_posix(): set(imported(file)) for file in files}
    assert {name for name, packages in found.items() if packages & {"orchestrator", "mlflow", "tests"}} == set()
    assert {name for name, packages in found.items() if "ray" in packages} == {"worker/ray_worker.py"}
