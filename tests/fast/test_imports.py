"""Imports go one way: trainables knows nothing of the orchestrator, and only its worker knows Ray."""

from __future__ import annotations

import ast
import re
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
    assert {name for name, packages in found.items() if "ray" in packages} == {
        *("worker/ray_worker.py", "worker/compat.py")
    }


def private_names(file: Path) -> Iterator[str]:
    """What a file takes of Ray, torch or MLflow that is not public: imported, or reached from the package's name.

    A registered operator, `torch.ops.aten._name`, is none: exported models are made of them.
    """
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Attribute):
            names = [name for name in [ast.unparse(node)] if all(map(str.isidentifier, name.split(".")))]
        for name in names:
            first, *parts = name.split(".")
            if (
                first in ("ray", "torch", "mlflow")
                and parts[:1] != ["ops"]
                and any(re.match(r"_(?!_)", part) for part in parts)
            ):
                yield name


def test_what_is_private_to_a_library_is_imported_in_one_place_of_each_package() -> None:
    files = [*TRAINABLES.rglob("*.py"), *(ROOT / "orchestrator").rglob("*.py")]
    found = {file.relative_to(ROOT).as_posix(): sorted(set(private_names(file))) for file in files}
    using = {file: names for file, names in found.items() if names and not file.endswith("/compat.py")}
    assert using == {}, "import it in the package's compat.py, or take a public way"
    assert {file for file, names in found.items() if names} == {
        *("orchestrator/compat.py", "trainables/compat.py", "trainables/worker/compat.py")
    }
