"""What all tests need: the marker of their folder, to be repeatable on a busy machine, and what was compiled before.

A test's folder says what it may do, and gives it its marker: see tests/README.md.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.support.compiled import INDUCTOR
from tests.support.durations import Durations
from tests.support.shared_ray import SharedRay

if TYPE_CHECKING:
    from tests.support.browser import Browser
    from tests.support.scheduling import ByWhatIsShared

TESTS = Path(__file__).parent
FOLDERS = ("fast", "contract", "process", "ray", "e2e", "gpu")

# The models here are so small that a second thread only waits; child processes inherit this too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(INDUCTOR))

# How long an example takes says nothing about whether it is right.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# Started in the background, a shell has Ctrl-C ignored, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("tests.support.recorded")  # a failure there says what was found


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="write what is shown into tests/goldens")
    parser.addoption("--store-durations", action="store_true", help="write tests/durations.json, for people to read")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--store-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Durations(TESTS / "durations.json"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test has its folder's marker."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder not in FOLDERS:
            raise pytest.UsageError(
                f"{item.path} lies in none of the folders {', '.join(FOLDERS)}: see tests/README.md"
            )
        item.add_marker(getattr(pytest.mark, folder))
    items.sort(key=lambda item: "shared_ray" not in getattr(item, "fixturenames", ()))  # one after another, and first


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByWhatIsShared | None:
    """Which tests run in one process; see `scheduling`."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.support.scheduling import ByWhatIsShared

    return ByWhatIsShared(config, log)


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[SharedRay]:
    """Not started yet: `shared_ray.start()`."""
    shared = SharedRay()
    yield shared
    shared.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The one Chromium of the run."""
    from tests.support.browser import open_browser  # imports aiohttp

    with open_browser() as opened:
        yield opened


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Holds a text against the file of that name in tests/goldens, or writes it there."""

    def check(name: str, text: str) -> None:
        file = TESTS / "goldens" / f"{name}.txt"
        if request.config.getoption("--update-goldens"):
            file.write_text(f"{text}\n", encoding="utf-8")
        expected = file.read_text(encoding="utf-8") if file.exists() else ""
        again = f"python -m pytest {request.node.nodeid} --update-goldens"
        assert f"{text}\n" == expected, (
            f"{file.name} says otherwise; if this is meant: {again}, and read the difference"
        )

    return check


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables and nothing in them."""
    from tests.support.recorded import empty_database  # imports MLflow, which takes seconds

    return empty_database(tmp_path_factory.mktemp("database"))


@pytest.fixture
def rehearsing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's task is tried in this process instead of two of its own, which take seconds to start."""
    from orchestrator.task_facts import dry_run
    from trainables.measure import read_back

    for own in (dry_run, read_back):
        monkeypatch.setattr(own, "in_fresh_process", lambda _, request, *args, own=own: own.respond(request))
