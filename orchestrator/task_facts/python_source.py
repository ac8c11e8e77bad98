"""Reads a user's Python source without running it: finds modules, their classes, and literal class attributes."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any

from orchestrator.diagnostics.problem import closest_name
from orchestrator.text import listing
from trainables.data.columns import COLUMN_KINDS
from trainables.errors import InputError

MAX_SOURCE_BYTES = 4 << 20
NOT_LITERAL = object()  # an attribute that is set, to something only running the module can tell

_HARMLESS_BASES = {"ABC", "Generic", "Protocol", "object"}


class SourceError(InputError):
    """The module or class cannot be used; with what is allowed instead and the nearest name."""

    def __init__(self, message: str, allowed: str = "", near: str | None = None) -> None:
        super().__init__(message)
        self.allowed = allowed
        self.nearest = near


@dataclass
class FoundClass:
    """The attributes and methods of a class, including those of its bases in the same module."""

    attributes: dict[str, Any] = field(default_factory=dict)  # literal values, or NOT_LITERAL
    definitions: dict[str, list[ast.FunctionDef]] = field(default_factory=dict)  # of its methods, inherited ones too
    init: ast.arguments | None = None
    is_task: bool = False  # derives from Task, as far as can be seen
    open_ended: bool = False  # has a base, a decorator or a metaclass from elsewhere, which may add anything

    @property
    def methods(self) -> set[str]:
        return set(self.definitions)


def find_module(name: str, folders: Sequence[str]) -> Path | None:
    """The source file of a module; None if it exists but has no source. Nothing is imported.

    Raises SourceError if there is no such module in the folders, or on any of Python's own import hooks.
    """
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        raise SourceError(f"{name!r} is not the name of a module", "package.module:Class")
    importlib.invalidate_caches()
    spec = PathFinder.find_spec(parts[0], list(folders)) or _hooked(parts[0])
    for count in range(2, len(parts) + 1):
        inside = spec.submodule_search_locations if spec else None
        spec = PathFinder.find_spec(".".join(parts[:count]), list(inside)) if inside else None
    if spec is None:
        siblings = [path.stem for folder in folders[:2] for path in Path(folder).glob("*.py")]
        where = f"looked in {listing(folders[:2])}, PYTHONPATH and the installed packages"
        raise SourceError(f"there is no module {name!r}; {where}", near=closest_name(name, siblings))
    if not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
        return None
    return Path(spec.origin)


def _hooked(name: str) -> ModuleSpec | None:
    """Packages that were installed in place are found by hooks and not by folders."""
    try:
        return importlib.util.find_spec(name)
    except (ValueError, ImportError):
        return None


def find_class(file: Path, name: str) -> FoundClass | None:
    """A class at the top level of a source file; None if the name may exist but its class is not written there.

    Raises SourceError if the file is not Python, or has no such class.
    """
    tree = _parse(file)
    classes = {node.name: node for node in _statements(tree.body) if isinstance(node, ast.ClassDef)}
    if name in classes:
        return _describe(classes[name], classes, seen=())
    if _may_bind(tree, name):
        return None
    raise SourceError(
        f"{file} has no class {name!r}",
        f"{listing(classes)}" or "a class derived from Task",
        closest_name(name, classes),
    )


def _parse(file: Path) -> ast.Module:
    try:
        if file.stat().st_size > MAX_SOURCE_BYTES:
            raise SourceError(f"{file} is larger than {MAX_SOURCE_BYTES} bytes")
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise SourceError(f"{file}{line} is not valid Python: {getattr(error, 'msg', error)}") from None
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}") from None
    except (RecursionError, MemoryError):
        raise SourceError(f"{file} is nested too deeply to be read") from None


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, those under `if`, `try` and `with` too."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody", "handlers"):
            if isinstance(node, ast.If | ast.Try | ast.With):
                for inner in getattr(node, name, []):
                    yield from _statements(inner.body if isinstance(inner, ast.ExceptHandler) else [inner])


def _may_bind(tree: ast.Module, name: str) -> bool:
    """Whether importing the module could define the name in another way than by a class statement."""
    for node in _statements(tree.body):
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                if any(alias.name == "*" or (alias.asname or alias.name.split(".")[0]) == name for alias in names):
                    return True
            case ast.FunctionDef(name="__getattr__"):
                return True
            case ast.Assign() | ast.AnnAssign():
                if any(target == name for target, _ in _assignments(node)):
                    return True
            case ast.Expr(value=ast.Call()):  # globals().update(...), setattr(...), exec(...)
                if "globals" in ast.dump(node) or "exec" in ast.dump(node) or "setattr" in ast.dump(node):
                    return True
    return False


def _describe(node: ast.ClassDef, classes: dict[str, ast.ClassDef], seen: tuple[str, ...]) -> FoundClass:
    found = FoundClass(open_ended=bool(node.decorator_list or node.keywords))
    for base in reversed(node.bases):  # what stands first wins, so it is applied last
        name = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
        if name in classes and name not in (*seen, node.name) and isinstance(base, ast.Name):
            _inherit(found, _describe(classes[name], classes, (*seen, node.name)))
        elif name == "Task":
            found.is_task = True
        elif name not in _HARMLESS_BASES and not isinstance(base, ast.Subscript):
            found.open_ended = True
    for statement in _statements(node.body):
        if isinstance(statement, ast.FunctionDef):
            found.definitions.setdefault(statement.name, []).append(statement)
            found.attributes.pop(statement.name, None)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            found.attributes.update(_assignments(statement))
    for statement in _statements(node.body):
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            found.init = statement.args
            found.attributes |= dict.fromkeys(_set_on_self(statement), NOT_LITERAL)
            found.open_ended |= any(word in ast.dump(statement) for word in ("setattr", "__dict__", "'vars'"))
    return found


def _set_on_self(init: ast.FunctionDef) -> list[str]:
    return [
        node.attr
        for node in ast.walk(init)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name)
    ]


def _inherit(found: FoundClass, base: FoundClass) -> None:
    found.attributes |= base.attributes
    for name, definitions in base.definitions.items():
        found.definitions.setdefault(name, []).extend(definitions)
    found.init = base.init or found.init
    found.is_task |= base.is_task
    found.open_ended |= base.open_ended


def _assignments(node: ast.Assign | ast.AnnAssign) -> Iterator[tuple[str, Any]]:
    """(name, literal value) of an assignment; `a, b = 1, 2` and `a = b = 1` give both."""
    if isinstance(node, ast.AnnAssign):
        if isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, _literal(node.value)
        return
    for target in node.targets:
        if isinstance(target, ast.Name):
            yield target.id, _literal(node.value)
        elif isinstance(target, ast.Tuple | ast.List):
            values: Sequence[ast.expr | None] = [None] * len(target.elts)
            if isinstance(node.value, ast.Tuple | ast.List) and len(node.value.elts) == len(target.elts):
                values = node.value.elts
            for name, value in zip(target.elts, values, strict=True):
                if isinstance(name, ast.Name):
                    yield name.id, NOT_LITERAL if value is None else _literal(value)


def _literal(node: ast.expr) -> Any:
    """The value of an expression that is written out; `Path("x")` counts as "x", `Stored()` as what it makes."""
    if isinstance(node, ast.Dict) and any(isinstance(value, ast.Call) for value in node.values):
        keys = [NOT_LITERAL if key is None else _literal(key) for key in node.keys]
        values = [_literal(value) for value in node.values]
        if all(isinstance(key, str) for key in keys) and NOT_LITERAL not in values:
            return dict(zip(keys, values, strict=True))
        return NOT_LITERAL
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        if name in COLUMN_KINDS and not node.args:
            return _column_kind(COLUMN_KINDS[name], node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Path":
        return _literal(node.args[0]) if len(node.args) == 1 and not node.keywords else NOT_LITERAL
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return NOT_LITERAL


def _column_kind(kind: type[Any], node: ast.Call) -> Any:
    """A task's description of a column, such as `Stored()`."""
    given = {keyword.arg: _literal(keyword.value) for keyword in node.keywords if keyword.arg is not None}
    if len(given) < len(node.keywords) or NOT_LITERAL in given.values():
        return NOT_LITERAL
    try:
        return kind(**given)
    except (TypeError, ValueError):
        return NOT_LITERAL  # whoever imports it is told
