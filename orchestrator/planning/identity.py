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


def module_sources(file: Path, module: str) -> list[Path]:
    """A user's module and the modules around it that it imports, directly or through one another.

    Around it is the folder where the module's first package lies; among installed packages, that package alone.
    Imports that only happen in code that runs (importlib, exec) are not seen.
    """
    depth = module.count(".") + (file.name == "__init__.py")
    root = file.parents[depth]
    installed = "site-packages" in root.parts
    first = module.split(".")[0]
    found: dict[Path, None] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = None
            for name in _imported(path, root):
                if not installed or name.split(".")[0] == first:
                    waiting += _files_of(root, name)
    return sorted(found)


def _imported(file: Path, root: Path) -> list[str]:
    """Full names of all that a source file may import: of `from a import b` both `a` and `a.b`."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return []  # the lookup of the task reports it
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = file.relative_to(root).parts[: -node.level] if node.level else ()
            base = [*package, *([node.module] if node.module else [])]
            names += [".".join(base), *(".".join([*base, alias.name]) for alias in node.names)]
    return names


def _files_of(root: Path, name: str) -> list[Path]:
    """The source files that importing a module runs: its own, and the `__init__.py` of every package around it."""
    parts = [part for part in name.split(".") if part and part != "*"]
    files: list[Path] = []
    for count in range(1, len(parts) + 1):
        stem = root.joinpath(*parts[:count])
        files += [path for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py") if path.is_file()]
    return files


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"
