"""The revision of the code that decides a result: part of every trial's id, so that changed code is new trials.

It covers our own `trainables` package, the versions of the libraries whose numerics decide a result, and a user's
module with the user's modules that it imports. Any edit of these sources counts, a comment too: telling harmless
edits from others is not worth a wrong reuse.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.util
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path, PurePosixPath

LIBRARIES = ("torch", "torchao", "torch-pruning")
NOT_FOLLOWED = ("orchestrator", "trainables", "__main__")  # ours, and whatever was started
INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True)
class ModuleFile:
    """One file of a user's code. `name` is `package/module.py` as imported, the same in every clone of the code."""

    name: str
    path: Path


def code_revision(user_files: Iterable[ModuleFile] = ()) -> str:
    """Sixteen hexadecimal digits over our own sources, the libraries' versions and the user's files."""
    digest = hashlib.sha256(own_revision().encode())
    for line in sorted({f"{file.name} {_digest(file.path)}\n" for file in user_files}):
        digest.update(line.encode())
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


def module_files(module: str, folders: Sequence[str]) -> set[ModuleFile]:
    """The files of a user's module and of the user's modules that it imports, directly or through one another.

    Everything is looked for in `folders`, and then with Python's own import hooks, as an import would; nothing is
    imported. Python's own modules and installed packages are not followed, but for the package of the module itself.
    Imports that only happen in code that runs (importlib, exec) are not seen.
    """
    importlib.invalidate_caches()
    own = module.split(".")[0]
    places: dict[str, list[Path]] = {name: [] for name in NOT_FOLLOWED} | {own: _places(own, folders)}
    found: set[ModuleFile] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        top = name.split(".")[0]
        if top not in places:
            places[top] = [place for place in _places(top, folders) if not _is_installed(place)]
        for file in _files_of(name, places[top]):
            if file not in found:
                found.add(file)
                waiting += _imported(file)
    return found


def _places(name: str, folders: Sequence[str]) -> list[Path]:
    """Where a top-level module or package lies: its file, or its folders (a package without `__init__.py` has many)."""
    spec: ModuleSpec | None = PathFinder.find_spec(name, list(folders))
    if spec is None:
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name)  # packages that were installed in place may be found by hooks alone
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(folder) for folder in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.origin and spec.has_location else []


def _is_installed(place: Path) -> bool:
    place = place.resolve()
    return not INSTALLED.isdisjoint(place.parts) or any(place.is_relative_to(folder) for folder in _standard_library())


@functools.cache
def _standard_library() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return Path(paths["stdlib"]).resolve(), Path(paths["platstdlib"]).resolve()


def _files_of(name: str, places: Iterable[Path]) -> Iterator[ModuleFile]:
    """The files that importing a module runs: its own, and the `__init__.py` of every package around it."""
    top, *inner = [part for part in name.split(".") if part]
    for place in places:
        if place.is_file():
            yield ModuleFile(place.name, place)
            continue
        files = ["__init__.py"]
        for count in range(1, len(inner) + 1):
            stem = "/".join(inner[:count])
            files += [f"{stem}.py", f"{stem}/__init__.py"]
        yield from (ModuleFile(f"{top}/{file}", place / file) for file in files if (place / file).is_file())


def _imported(file: ModuleFile) -> list[str]:
    """Full names of all that a source file may import: of `from a import b` both `a` and `a.b`."""
    try:
        tree = ast.parse(file.path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return []  # the lookup of the task reports it
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = PurePosixPath(file.name).parts[: -node.level] if node.level else ()
            base = [*package, *([node.module] if node.module else [])]
            names += [".".join(base), *(".".join([*base, alias.name]) for alias in node.names)]
    return [name for name in names if name]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"
