"""A fast test takes under a second, and starts no process, imports neither Ray nor MLflow, and compiles nothing.

A second of the processor, of this process: on a machine that is busy with other things a test that is fast stays so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

MAX_SECONDS = 1.0
MANY_MODULES = 50  # a library's: whoever is the first to import it takes seconds, once, which are not its own
WAY_OUT = "Make it without, or move it there: see tests/README.md"
STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system")
IMPORTS = {
    "ray": "imports ray, which belongs to tests/ray",
    "mlflow": "imports mlflow, which belongs to tests/process",
    "torch._inductor.compile_fx": "compiles a model, which belongs to tests/process",
}

_seen: list[str] | None = None  # what was not to happen, and has, since the test (or the import of its file) began


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Python tells this function all that it does. It cannot be removed, so it looks only while `_seen` is a list."""
    if _seen is None:
        return
    if event in STARTS:
        _seen.append("starts a process, which belongs to tests/process")
    elif event == "import" and arguments[0] in IMPORTS:
        _seen.append(IMPORTS[str(arguments[0])])
    else:
        return
    pytest.fail(f"this is no fast test: it {_seen[-1]}. {WAY_OUT}")


sys.addaudithook(_watch)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Collecting imports the files of tests."""
    global _seen
    _seen = []
    try:
        return (yield)
    finally:
        _seen = None


def _watched() -> Iterator[None]:
    """One phase of a test. Fails also where the code under test has caught what stopped it."""
    global _seen
    _seen = []
    try:
        result = yield
        seen = list(_seen)
    finally:
        _seen = None
    if seen:
        pytest.fail(f"this is no fast test: it {seen[0]}. {WAY_OUT}")
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    return (yield from _watched())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    modules, started = len(sys.modules), time.process_time()
    result = yield from _watched()
    seconds = time.process_time() - started
    if seconds > MAX_SECONDS and len(sys.modules) < modules + MANY_MODULES:
        pytest.fail(
            f"this is no fast test: it takes {seconds:.2f} s of the processor, and may take {MAX_SECONDS:g}. "
            "Make it smaller, or move it to tests/process: see tests/README.md"
        )
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    return (yield from _watched())
