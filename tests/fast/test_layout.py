"""`tests/fast` mirrors the packages."""

from tests.support.places import ROOT

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
