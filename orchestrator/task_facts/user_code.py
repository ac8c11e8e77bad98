"""A user's code, as far as it determines a result: the files of the user's own project, and the packages it depends on.

The project is what is found in the sweep's folder and the current one, the package of the task itself, and whatever
lies in the same repository or source tree: below the nearest folder with one of `MARKS`. Its files are read and their
imports followed. An import that leads elsewhere, to an installed package or another place on `sys.path`, is a
dependency: one line says which, and no file of it is read, nor is it seen what it imports itself.

    installed, with pip's record of it     its version
    anywhere else (PYTHONPATH, editable)   its version, if it has one, and the names, sizes and times of its sources:
                                           they may be edited where they are, but may also be ten thousand files
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.util
import os
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path, PurePosixPath

from orchestrator.machine.taken_names import OURS

MARKS = (".git", "pyproject.toml", "setup.py", "setup.cfg")
NOT_FOLLOWED = (*OURS, "__main__")  # and whatever was started
INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True)
class ModuleFile:
    """One file of a user's code. `name` is `package/module.py` as imported, the same in every clone of the code."""

    name: str
    path: Path


@dataclass(frozen=True)
class UserCode:
    """The parts of a user's code that affect a trial's identity. `dependencies` is one line for each package."""

    files: frozenset[ModuleFile] = frozenset()
    dependencies: frozenset[str] = frozenset()


def user_code(module: str, search_path: Sequence[str], python_path: Sequence[str]) -> UserCode:
    """The code of a user's module. `search_path`: the folders of the sweep, which come before Python's own.

    Everything is looked for in the folders, and then with Python's own import hooks, as an import would; nothing is
    imported. Imports that only happen in code that runs (importlib, exec) are not seen.
    """
    importlib.invalidate_caches()
    folders = [*search_path, *(entry or "." for entry in python_path)]
    own = module.split(".")[0]
    own_places = _places(own, folders)
    roots = {Path(folder).resolve() for folder in search_path}
    trees = {tree for place in own_places if (tree := _source_tree(place)) and not is_installed(place)}

    def is_own(place: Path) -> bool:
        here = place.resolve().parent in roots or _source_tree(place) in trees
        return here and not is_installed(place)

    places: dict[str, list[Path]] = {name: [] for name in NOT_FOLLOWED} | {own: own_places}
    found: set[ModuleFile] = set()
    dependencies: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        top = name.split(".")[0]
        if top not in places:
            every = _places(top, folders)
            places[top] = [place for place in every if is_own(place)]
            dependencies |= {_dependency(top, place, folders) for place in every if not is_own(place)}
        for file in _files_of(name, places[top]):
            if file not in found:
                found.add(file)
                waiting += _imported(file)
    return UserCode(frozenset(found), frozenset(dependencies - {""}))


def named_code(module: str, search_path: Sequence[str], python_path: Sequence[str]) -> UserCode:
    """The code of a module that a setting names: the user's own as `user_code` has it, an installed one its version."""
    folders = [*search_path, *(entry or "." for entry in python_path)]
    top = module.split(".")[0]
    places = _places(top, folders)
    if places and all(map(is_installed, places)):
        return UserCode(dependencies=frozenset(_dependency(top, place, folders) for place in places) - {""})
    return user_code(module, search_path, python_path)


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


def _source_tree(place: Path) -> Path | None:
    """The nearest folder around it that is the top of a repository or of a package's sources."""
    around = place.resolve().parents
    return next((folder for folder in around if any((folder / mark).exists() for mark in MARKS)), None)


def is_installed(place: Path) -> bool:
    """Whether it belongs to Python itself or to an installed package."""
    place = place.resolve()
    return not INSTALLED.isdisjoint(place.parts) or _is_pythons(place)


def _is_pythons(place: Path) -> bool:
    return any(place.is_relative_to(folder) for folder in _standard_library())


@functools.cache
def _standard_library() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return Path(paths["stdlib"]).resolve(), Path(paths["platstdlib"]).resolve()


# -- what is not the user's -------------------------------------------------------------------------------------------


def _dependency(name: str, place: Path, folders: Sequence[str]) -> str:
    """What stands for a package, or one of its places; empty for a part of Python itself."""
    place = place.resolve()
    if INSTALLED.isdisjoint(place.parts) and _is_pythons(place):
        return ""
    package = _distribution(name, place, folders)
    version = package.version if package else "of no version"
    if (package and _put(package, place)) or not INSTALLED.isdisjoint(place.parts):
        return f"{name} {version}"
    return f"{name} {version} {_stamps(place)}"


def _put(package: metadata.Distribution, place: Path) -> bool:
    """Whether pip put the files there, as with `--target`, and did not only make a link to them."""
    return package.read_text("RECORD") is not None and Path(str(package.locate_file(""))).resolve() == place.parent


def _distribution(name: str, place: Path, folders: Sequence[str]) -> metadata.Distribution | None:
    """The package that a module was installed with. Most are called alike; to look for others takes longer."""

    def called(name: str) -> metadata.Distribution | None:
        return next(iter(metadata.distributions(name=name, path=list(folders))), None)

    if (package := called(name)) is not None or INSTALLED.isdisjoint(place.parts):
        return package
    return next((found for other in _distributions().get(name, []) if (found := called(other))), None)


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def _stamps(place: Path) -> str:
    """Names, sizes and times of the sources of a package, or of a module that is one file, as a digest."""
    digest = hashlib.sha256()
    for path in sorted(_sources(place)):
        with suppress(OSError):
            status = path.stat()
            digest.update(f"{path.relative_to(place.parent)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _sources(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, subfolders, names in os.walk(place):
        subfolders[:] = [name for name in subfolders if name != "__pycache__"]
        yield from (Path(folder, name) for name in names if name.endswith((".py", ".so")))


# -- the user's own files ---------------------------------------------------------------------------------------------


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
