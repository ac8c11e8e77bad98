"""The revision of the code that decides a result: which of a user's files are part of a trial's identity."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest

from orchestrator.task_facts.code_digest import code_digest
from orchestrator.task_facts.code_revision import code_revision
from orchestrator.task_facts.files_read import files_opened
from orchestrator.task_facts.user_code import ModuleFile, UserCode, user_code


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
    code = user_code("shop.task", [str(tmp_path)], sys.path)
    found = {file.path.relative_to(package).as_posix() for file in code.files}
    assert found == {"__init__.py", "task.py", "near.py", "parts/__init__.py", "parts/deep.py", "parts/x.py"}
    assert code_revision() != code_revision(UserCode(frozenset({ModuleFile("shop/task.py", package / "task.py")})))


CLONE = {
    "pyproject.toml": "",
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


def code_of(clone: Path, module: str = "task") -> UserCode:
    below = ("", "laid_out/src", "lib/site-packages")
    return user_code(module, [str(clone / "experiments")], [*(str(clone / folder) for folder in below), *sys.path])


def test_the_users_code_is_followed_wherever_it_is_imported_from(clone: Path) -> None:
    modules = {"task.py", "mypkg/models.py", "mypkg/blocks.py", "laid_out/__init__.py", "laid_out/part.py", "loose.py"}
    assert {file.name for file in code_of(clone).files} == modules
    assert {file.name for file in code_of(clone, "shelf").files} == {"shelf.py"}
    revision = code_revision(code_of(clone))
    (clone / "mypkg" / "unused.py").write_text("never_imported = 1")
    assert code_revision(code_of(clone)) == revision
    (clone / "mypkg" / "blocks.py").write_text("import loose")
    assert code_revision(code_of(clone)) != revision


def test_a_comment_in_the_users_code_changes_no_revision(clone: Path) -> None:
    revision = code_revision(code_of(clone))
    (clone / "mypkg" / "blocks.py").write_text("import loose, shelf  # a comment alone")
    assert code_revision(code_of(clone)) == revision


def test_the_same_code_in_another_clone_is_the_same_revision(clone: Path) -> None:
    other = shutil.copytree(clone, clone.parent / "a clone elsewhere")
    assert code_revision(code_of(other)) == code_revision(code_of(clone))
    one, two = clone / "loose.py", clone / "mypkg" / "models.py"
    swapped = UserCode(frozenset({ModuleFile("a.py", two), ModuleFile("b.py", one)}))
    as_it_was = UserCode(frozenset({ModuleFile("a.py", one), ModuleFile("b.py", two)}))
    assert code_revision(swapped) != code_revision(as_it_was)


# -- what of a file counts --------------------------------------------------------------------------------------------

CODE = '''
"""About it."""
import torch

class Net(torch.nn.Module):
    """Layers."""

    def forward(self, x):
        """x: [rows, 3]."""
        return x * 2  # twice
'''
SAME = [
    CODE.replace("# twice", "# two times"),
    CODE.replace("[rows, 3]", "[n, 3]"),
    CODE.replace('"""About it."""', ""),
    CODE.replace('"""Layers."""', ""),
    CODE.replace("x * 2", "(x*2)"),
    CODE.replace("\n\n", "\n\n\n# more\n"),
]
OTHER = [
    CODE.replace("x * 2", "x * 3"),
    CODE.replace("x * 2", "2 * x"),
    CODE.replace("x * 2", "x * 2.0"),
    CODE.replace("x * 2", "x * True"),
    CODE.replace('"""Layers."""', 'layers = """Layers."""'),
    CODE.replace("return x * 2", "return x * 2\n        yield"),
    CODE.replace("forward(self, x)", "forward(self, x, y=None)"),
    CODE.replace("forward(self, x)", "forward(self, *x)"),
    CODE.replace("import torch", "import torch as torch"),
    CODE.replace("Net", "Nets"),
    CODE.replace("        return x", "        if x:\n            pass\n        return x"),
]


def test_comments_docstrings_and_layout_change_no_digest() -> None:
    assert {code_digest(text.encode()) for text in SAME} == {code_digest(CODE.encode())}


@pytest.mark.parametrize("text", OTHER)
def test_any_other_change_changes_the_digest(text: str) -> None:
    assert text != CODE
    assert code_digest(text.encode()) != code_digest(CODE.encode())


def test_what_holds_a_statement_or_a_value_counts() -> None:
    assert code_digest(b"if a:\n    b()\n    c()") != code_digest(b"if a:\n    b()\nc()")
    assert code_digest(b"if a:\n    b()\nelse:\n    c()") != code_digest(b"if a:\n    b()\n    c()")
    assert code_digest(b"x = [[1], 2]") != code_digest(b"x = [[1, 2]]")
    assert code_digest(b"f(a, *b)") != code_digest(b"f(a, b)")
    assert code_digest(b"f(a, b=b)") != code_digest(b"f(a, b)")


def test_a_docstring_counts_where_the_code_may_read_it() -> None:
    reader = "def f():\n    '''{}'''\nprint(f.__doc__)"
    assert code_digest(reader.format("one").encode()) != code_digest(reader.format("two").encode())


def test_what_cannot_be_parsed_is_known_by_its_bytes() -> None:
    assert code_digest(b"no python # one") != code_digest(b"no python # two")
    assert len(code_digest(b"\0")) == 64
    assert code_digest(b"-" * 2_000 + b"1") != code_digest(b"-" * 2_001 + b"1"), "nested too deeply"


# -- packages that lie elsewhere --------------------------------------------------------------------------------------

MANY = 300


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A place on `sys.path` with a large package, all of which one import brings in."""
    folder = tmp_path / "shelf"
    (folder / "large").mkdir(parents=True)
    (folder / "large" / "__init__.py").write_text("from large import part_0")
    for number in range(MANY):
        (folder / "large" / f"part_{number}.py").write_text(f"from large import part_{number + 1}\nimport beside")
    (folder / "beside.py").write_text("")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "task.py").write_text("import large, numpy, json\nimport near")
    (tmp_path / "sweep" / "near.py").write_text("")
    return folder


def code_beside(shelf: Path) -> UserCode:
    return user_code("task", [str(shelf.parent / "sweep")], [str(shelf), *sys.path])


def test_only_the_users_own_project_is_read(shelf: Path) -> None:
    with files_opened() as opened:
        code = code_beside(shelf)
        code_revision(code)
    assert {file.name for file in code.files} == {"task.py", "near.py"}
    assert not [path for path in opened if path.startswith(str(shelf))]
    assert len([path for path in opened if path.startswith(str(shelf.parent))]) == 2
    names = sorted(line.split(" ")[0] for line in code.dependencies)
    assert names == ["large", "numpy"], "what Python brings, or a dependency imports, is none"
    assert f"numpy {metadata.version('numpy')}" in code.dependencies


def test_in_one_repository_everything_is_the_users_own(shelf: Path) -> None:
    (shelf.parent / ".git").mkdir()
    assert len(code_beside(shelf).files) == MANY + 4
    (shelf / "pyproject.toml").write_text("")  # sources of their own
    assert len(code_beside(shelf).files) == 2


def test_a_dependency_that_may_be_edited_where_it_lies_is_other_code_once_it_is(shelf: Path) -> None:
    before = code_revision(code_beside(shelf))
    assert code_revision(code_beside(shelf)) == before
    (shelf / "large" / "part_7.py").write_text("# mended")
    assert code_revision(code_beside(shelf)) != before


def test_a_dependency_that_pip_put_there_is_known_by_its_version(shelf: Path) -> None:
    record = shelf / "large-1.5.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: large\nVersion: 1.5\n")
    assert any(line.startswith("large 1.5 ") for line in code_beside(shelf).dependencies), "a link to its sources"
    (record / "RECORD").write_text("large/__init__.py,,\n")
    before = code_beside(shelf)
    assert "large 1.5" in before.dependencies
    (shelf / "large" / "part_7.py").write_text("# nobody edits what is installed")
    assert code_beside(shelf) == before
