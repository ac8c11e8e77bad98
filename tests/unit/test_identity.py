"""The revision of the code that decides a result: which of a user's files are part of a trial's identity."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from orchestrator.planning.identity import ModuleFile, code_revision, module_files


def test_only_modules_around_the_task_are_followed(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "task.py").write_text(
        "import json, torch\nfrom . import near\nfrom shop.parts import deep\nfrom .parts.x import y"
    )
    (package / "near.py").write_text("from .parts.deep import other")
    (package / "parts" / "__init__.py").write_text("")
    (package / "parts" / "deep.py").write_text("import shop.task")
    (package / "parts" / "x.py").write_text("syntax error here")
    (package / "unused.py").write_text("")
    found = {file.path.relative_to(package).as_posix() for file in module_files("shop.task", [str(tmp_path)])}
    assert found == {"__init__.py", "task.py", "near.py", "parts/__init__.py", "parts/deep.py", "parts/x.py"}
    assert code_revision() != code_revision([ModuleFile("shop/task.py", package / "task.py")])


CLONE = {
    "experiments/task.py": "import json, numpy, missing, trainables.tasks\nfrom mypkg.models import Net",
    "mypkg/models.py": "from .blocks import Block\nfrom laid_out import part",  # there is no mypkg/__init__.py
    "mypkg/blocks.py": "import loose, shelf",
    "mypkg/unused.py": "",
    "laid_out/src/laid_out/__init__.py": "",
    "laid_out/src/laid_out/part.py": "",
    "loose.py": "import orchestrator",
    "orchestrator.py": "",  # never imported: ours is there already
    "lib/site-packages/shelf.py": "import bought",
    "lib/site-packages/bought.py": "",
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository: a task in a folder below, a model in a package at its root, and a package that it installed."""
    for name, text in CLONE.items():
        file = tmp_path / "clone" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "clone"


def files_of(clone: Path, module: str = "task") -> set[ModuleFile]:
    below = ("experiments", "", "laid_out/src", "lib/site-packages")
    return module_files(module, [*(str(clone / folder) for folder in below), *sys.path])


def test_the_users_code_is_followed_wherever_it_is_imported_from(clone: Path) -> None:
    modules = {"task.py", "mypkg/models.py", "mypkg/blocks.py", "laid_out/__init__.py", "laid_out/part.py", "loose.py"}
    assert {file.name for file in files_of(clone)} == modules
    assert {file.name for file in files_of(clone, "shelf")} == {"shelf.py"}
    revision = code_revision(files_of(clone))
    (clone / "mypkg" / "unused.py").write_text("# nobody imports it")
    assert code_revision(files_of(clone)) == revision
    (clone / "mypkg" / "blocks.py").write_text("# a fix\nimport loose")
    assert code_revision(files_of(clone)) != revision


def test_the_same_code_in_another_clone_is_the_same_revision(clone: Path) -> None:
    other = shutil.copytree(clone, clone.parent / "a clone elsewhere")
    assert code_revision(files_of(other)) == code_revision(files_of(clone))
    one, two = clone / "loose.py", clone / "mypkg" / "models.py"
    swapped = [ModuleFile("a.py", two), ModuleFile("b.py", one)]
    assert code_revision(swapped) != code_revision([ModuleFile("a.py", one), ModuleFile("b.py", two)])
