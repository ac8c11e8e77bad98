"""The revision of the code that decides a result: part of every trial's id, so that changed code is new trials.

It covers our own `trainables` package, the versions of the libraries whose numerics decide a result, and a user's
module with the modules beside it that it imports. Any edit of these sources counts, a comment too: telling harmless
edits from others is not worth a wrong reuse.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

LIBRARIES = ("torch", "torchao", "torch-pruning")


def code_revision(user_sources: Iterable[Path] = ()) -> str:
    """Sixteen hexadecimal digits over our own sources, the libraries' versions and the user's sources (by content)."""
    digest = hashlib.sha256(own_revision().encode())
    for path in sorted(user_sources):
        digest.update(_digest(path).encode())
    return digest.hexdigest()[:16]


@functools.cache
def own_revision() -> str:
    """Digest of the `trainables` sources and of the versions of the libraries; read once per process."""
    import trainables

    root = Path(trainables.__path__[0])
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        digest.update(f"{path.relative_to(root).as_posix()} {_digest(path)}\n".encode())
    for library in LIBRARIES:
        digest.update(f"{library} {_version(library)}\n".encode())
    return digest.hexdigest()


def module_sources(module: Path) -> list[Path]:
    """A user's module and the modules in the same folder that it imports, directly or through one another.

    Imports that only happen in code that runs (importlib, exec) are not seen.
    """
    found: list[Path] = []
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.append(path)
        waiting += [sibling for name in _imported(path) if (sibling := _beside(module.parent, name)) is not None]
    return sorted(found)


def _imported(path: Path) -> list[str]:
    """First parts of the names that a source file imports."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return []  # the lookup of the task reports it
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").split(".")[0]
            names += [module] if module else [alias.name for alias in node.names]
    return names


def _beside(folder: Path, name: str) -> Path | None:
    candidates = (folder / f"{name}.py", folder / name / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"
