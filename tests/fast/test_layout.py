"""`tests/fast` mirrors the packages."""

import pytest

from tests.support.places import ROOT
from tests.support.scheduling import TOGETHER, group_of

FAST = ROOT / "tests" / "fast"


def test_a_fast_test_has_the_name_of_the_module_that_it_tests() -> None:
    """`test_load.py`, or `test_load_bad_files.py` where a module has several; at the top, what is of no one module."""
    strangers = []
    for file in FAST.glob("*/**/test_*.py"):
        package, name = ROOT / file.parent.relative_to(FAST), file.stem.removeprefix("test_")
        modules = [module.stem for module in package.glob("*.py")]
        if not any(name == module or name.startswith(f"{module}_") for module in modules):
            strangers.append(str(file.relative_to(ROOT)))
    assert strangers == [], "no module beside has that name"


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/process/test_probe.py::test_a[x::y@z]", "tests/process/test_probe.py"),
        ("tests/ray/test_gang.py::test_a", "ray"),
        ("tests/contract/test_executor.py::test_a[inline]", "ray"),
        ("tests/e2e/test_report_page.py::test_a[400]", "browser"),
    ],
)
def test_tests_that_share_something_run_in_one_process(nodeid: str, group: str) -> None:
    assert group_of(nodeid) == group


@pytest.mark.parametrize("name", TOGETHER)
def test_files_that_share_something_exist(name: str) -> None:
    files = [str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py")]
    assert any(TOGETHER[name].match(file) for file in files)
