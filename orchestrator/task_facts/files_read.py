"""Detects the files that a user's code opens, as every file that it reads must be part of a trial's identity.

Python reports every file that it opens, for `torch.load`, `numpy.memmap` and `json.load` too (PEP 578). It does not see
what a library opens by itself, in C++ or Rust. Those in `NATIVE_READERS` are listened to at their door; others are not
seen, such as `pyarrow.memory_map`, `tokenizers`, `h5py` and `cv2.imread`.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec, source_from_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.task_facts.user_code import is_installed, user_code
from trainables.config.trial import Scalar
from trainables.data.fingerprint import is_kept_by_programs
from trainables.data.sources import description_files, local_path, real_files
from trainables.tasks.load import TaskError, load_task
from trainables.tasks.task_data import files_of, home_folder, sources_of

if TYPE_CHECKING:
    from trainables.tasks.base import Task

NATIVE_READERS = (
    ("safetensors", "safe_open"),
    ("safetensors.torch", "safe_open"),  # by which `load_file` and `load_model` call it
    ("torch.jit", "load"),
    ("torch", "from_file"),
)
METADATA = (".egg-info", ".dist-info")  # Python looks for it wherever it may import from
MOST_NAMED = 4

_recording: list[set[str]] = []  # the active recordings of opened files
_is_listening = False


@contextmanager
def files_opened() -> Iterator[set[str]]:
    """The absolute paths of all files that this process opens to read, as far as that is seen, in any of its threads.

    Imports torch, and safetensors where it is installed.
    """
    global _is_listening
    if not _is_listening:
        sys.addaudithook(_heard)  # for good: Python cannot take one away
        _is_listening = True
    opened: set[str] = set()
    _recording.append(opened)
    try:
        with ExitStack() as doors:
            for module, name in NATIVE_READERS:
                doors.enter_context(_heard_at(module, name))
            yield opened
    finally:
        _recording.remove(opened)


@contextmanager
def _heard_at(module: str, name: str) -> Iterator[None]:
    """Hears the paths that a function, or a class, of a library is called with; nothing where it is not installed."""
    if find_spec(module.partition(".")[0]) is None:
        yield
        return
    home = import_module(module)
    native = getattr(home, name)

    @functools.wraps(native)
    def reader(*arguments: Any, **options: Any) -> Any:
        for value in (*arguments, *options.values()):
            if isinstance(value, str | os.PathLike) and os.path.isfile(value):
                _heard("open", (value, None, os.O_RDONLY))
        return native(*arguments, **options)

    setattr(home, name, reader)
    try:
        yield
    finally:
        setattr(home, name, native)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: it must not raise, as the audited operation would then fail."""
    if event != "open" or not _recording:
        return
    path, _, flags = arguments
    with suppress(Exception):
        only_written = flags & os.O_ACCMODE == os.O_WRONLY or flags & (os.O_CREAT | os.O_TRUNC)
        if isinstance(path, str | bytes | os.PathLike) and not only_written:
            absolute = os.path.abspath(os.fsdecode(path))
            for opened in _recording:
                opened.add(absolute)


def check_declared(
    opened: Iterable[str], name: str, options: Mapping[str, Scalar], search_path: Sequence[str], cache: Path
) -> None:
    """Raises TaskError where files among those `opened` change a result of a task, and not its trials' ids.

    Looked at is what lies in the folders of the task's own modules and below them. `cache` is Paretune's own.
    """
    try:
        task = load_task(name, options, search_path)
    except TaskError:  # this process lacks something that the driver has
        return
    own = user_code(name.partition(":")[0], search_path, sys.path).files
    folders = {os.path.realpath(file.path.parent) for file in own}
    known = {os.path.realpath(file.path) for file in own}
    for source in sources_of(task).values():
        known |= real_files(source) | description_files(source) if local_path(source) else set()
    declared = [os.path.realpath(file) for file in files_of(task)]

    def is_known(path: str) -> bool:
        return path in known or any(path == one or path.startswith(f"{one}{os.sep}") for one in declared)

    places = {_source_of(path) for path in opened}
    found = sorted(path for path in places if _is_own(path, folders, cache) and not is_known(os.path.realpath(path)))
    if found:
        raise TaskError(_sentence(task, found))


def _source_of(path: str) -> str:
    """The module that stands behind a compiled one."""
    if path.endswith(".pyc"):
        with suppress(ValueError):
            return source_from_cache(path)
    return path


def _is_own(path: str, folders: Collection[str], cache: Path) -> bool:
    """Whether it is a file in one of the folders, and neither installed there nor what programs keep for themselves."""
    inside = [os.path.relpath(one, folder) for folder in folders for one in (path, os.path.realpath(path))
              if one.startswith(f"{folder}{os.sep}")]  # fmt: skip
    if not inside or not os.path.isfile(path) or path.startswith(f"{os.path.realpath(cache)}{os.sep}"):
        return False
    passed_over = any(is_kept_by_programs(name) or any(ending in name for ending in METADATA) for name in inside)
    return not passed_over and not is_installed(Path(path))


def _sentence(task: Task, found: list[str]) -> str:
    name = type(task).__name__
    home = home_folder(task, "files")
    names = [os.path.relpath(path, home) for path in found]
    folder = os.path.commonpath(names) if len(names) > MOST_NAMED else ""
    lines = [folder] if folder else names  # a folder stands for all files in it
    declared = ", ".join(repr(str(one)) for one in (*task.files, *lines)).replace("'", '"')
    read = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
    return (
        f"{name} reads {read}, which its `files` do not name: with other content there, an old result would count as "
        f"this trial's; add to the class: files = ({declared},)"
    )
