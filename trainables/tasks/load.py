"""A task by its name: a built-in one, or a user's `module:Class`. Imports torch only when a task is really loaded."""

from __future__ import annotations

import difflib
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from trainables.data.columns import COLUMN_KINDS, Column
from trainables.data.sources import SPLITS, is_source, real_path
from trainables.tasks.catalog import BUILTIN, Option

if TYPE_CHECKING:
    from trainables.tasks.base import Task
from trainables.errors import InputError
from trainables.tasks.task_data import sources_of


class TaskError(InputError):
    """A task that cannot be used: the message names it, the problem and the way out."""


def load_task(name: str, options: Mapping[str, Option] | None = None, search_path: Sequence[str | Path] = ()) -> Task:
    """The task `name`, made with `options`. `search_path`: folders where a user's module is looked for first.

    Raises TaskError: no such task, module or class; an import that fails; options that do not fit; a class without
    its data, or with the same data twice.
    """
    task_class = _find_class(name, search_path)
    try:
        inspect.signature(task_class).bind(**(options or {}))
    except TypeError as error:
        allowed = ", ".join(inspect.signature(task_class).parameters) or "none"
        raise TaskError(
            f"task {name!r} cannot be made with options {dict(options or {})}: {error}; it takes {allowed}"
        ) from None
    try:
        task = task_class(**(options or {}))
    except Exception as error:
        raise TaskError(f"task {name!r} cannot be made with options {dict(options or {})}: {error}") from error
    _check(task, name)
    return task


def _find_class(name: str, search_path: Sequence[str | Path]) -> type[Task]:
    from trainables.tasks.base import Task

    target = BUILTIN[name].target if name in BUILTIN else name
    module_name, colon, class_name = target.partition(":")
    if not (colon and module_name and class_name):
        near = difflib.get_close_matches(name, BUILTIN, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"built in are {', '.join(BUILTIN)}"
        raise TaskError(f"task {name!r} is neither built in nor of the form module:Class; {hint}")
    module = _import(module_name, name, search_path)
    found = getattr(module, class_name, None)
    if found is None:
        classes = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, Task)]
        near = difflib.get_close_matches(class_name, classes, n=1) or [key for key in classes if key != "Task"]
        hint = f"; it has {', '.join(near)}" if near else ""
        raise TaskError(f"task {name!r}: {module.__file__} has no {class_name!r}{hint}")
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise TaskError(f"task {name!r}: {class_name} is not a subclass of paretune.Task")
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise TaskError(f"task {name!r}: {class_name} does not define {', '.join(missing)}")
    return found


def _import(module_name: str, task_name: str, search_path: Sequence[str | Path]) -> ModuleType:
    folders = [str(Path(folder).absolute()) for folder in search_path]
    root = module_name.partition(".")[0]
    spec = importlib.machinery.PathFinder.find_spec(root, folders) if folders else None
    if spec is not None:
        if root in sys.stdlib_module_names:
            raise TaskError(f"task {task_name!r}: {root!r} is a module of Python itself; rename {spec.origin}")
        _forget_namesake(root, spec)
    try:
        with _first_on_path(folders):
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            where = ", ".join(folders) or "the Python path"
            raise TaskError(f"task {task_name!r}: there is no module {error.name!r} in {where}") from None
        raise TaskError(f"task {task_name!r}: {module_name} needs {error.name!r}, which is not installed") from error
    except (Exception, SystemExit) as error:  # a script that was meant to be run, not imported, may exit
        raise TaskError(
            f"task {task_name!r}: importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error


def _forget_namesake(root: str, spec: importlib.machinery.ModuleSpec) -> None:
    """A worker that lives on may know another module by this name, from another sweep's folder."""
    known = sys.modules.get(root)
    if known is not None and getattr(known, "__file__", None) != spec.origin:
        for name in [name for name in sys.modules if name == root or name.startswith(f"{root}.")]:
            del sys.modules[name]


@contextmanager
def _first_on_path(folders: Sequence[str]) -> Iterator[None]:
    sys.path[:0] = folders
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(folder)


def wrong_files(files: object) -> str | None:
    """The fault of a task's `files`, in a sentence; None if there is none."""
    if isinstance(files, tuple | list) and all(isinstance(file, str | Path) and str(file) for file in files):
        remote = next((str(file) for file in files if "://" in str(file)), None)
        return remote and f"files holds paths on the local disk, not the URI {remote!r}: fetch it beforehand"
    hint = f"({str(files)!r},)" if isinstance(files, str | Path) else "('backbone.safetensors',)"
    return f"files is a tuple of paths such as {hint}, not {files!r}"


def wrong_columns(columns: object) -> str | None:
    """The fault of a task's `columns`, in a sentence; None if there is none."""
    if isinstance(columns, tuple | list | dict) and all(isinstance(column, str) for column in columns):
        kinds = columns.items() if isinstance(columns, dict) else ()
        wrong = next((f"{name!r}: {kind!r}" for name, kind in kinds if not isinstance(kind, Column)), None)
        return wrong and f"columns has {wrong}; of a column it says {' or '.join(f'{kind}()' for kind in COLUMN_KINDS)}"
    return f"columns is a tuple of column names such as ('label',), or a dict of names, not {columns!r}"


def _check(task: Task, name: str) -> None:
    missing = [split for split in SPLITS if not is_source(getattr(task, split, None))]
    if missing:
        raise TaskError(
            f"task {name!r} does not say where its data is: set {', '.join(missing)} to a path or a URI, or to a list "
            "of them"
        )
    sources = sources_of(task)
    if len(set(map(real_path, sources.values()))) < len(SPLITS):
        raise TaskError(
            f"task {name!r} uses the same data twice, so its results would mean nothing: {sources}; "
            "give train, validation and test their own"
        )
    inputs: object = task.inputs
    if not isinstance(inputs, tuple | list) or not inputs:
        raise TaskError(f"task {name!r}: inputs is a tuple of column names such as ('features',), not {inputs!r}")
    columns: object = task.columns
    if problem := wrong_columns(columns):
        raise TaskError(f"task {name!r}: {problem}")
    if problem := wrong_files(task.files):
        raise TaskError(f"task {name!r}: {problem}")
    for metric, mode in task.metrics.items():
        if mode not in ("min", "max"):
            raise TaskError(f"task {name!r}: metric {metric!r} is 'min' or 'max', not {mode!r}")
    if "loss" in task.metrics:
        raise TaskError(f"task {name!r}: the metric 'loss' exists already, from losses(); leave it out of metrics")
