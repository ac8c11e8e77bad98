"""A benchmark that is run with --record writes its own page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.snippets import ROOT

BENCHMARK = '''"""How long nothing takes.

    python benchmarks/nothing.py [--times 3]
"""

import sys
from pathlib import Path

sys.path.insert(0, "BENCHMARKS")
import record


def main() -> int:
    print("0 seconds", sys.argv[1:])
    return 1


if __name__ == "__main__":
    record.PAGES = Path(__file__).parent
    sys.exit(record.recorded(main))
'''


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "nothing.py"
    file.write_text(BENCHMARK.replace("BENCHMARKS", str(ROOT / "benchmarks")))
    return file


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_page_has_the_figures_and_what_they_hold_for(script: Path) -> None:
    done = run(script, "--times", "3", "--record")
    assert (done.returncode, done.stdout) == (1, "0 seconds ['--times', '3']\n"), done.stderr
    page = script.with_suffix(".md").read_text()
    assert page.startswith(
        "<!-- written by benchmarks/nothing.py --record -->\n\n# `nothing.py`\n\nHow long nothing takes."
    )
    assert "| command | `python benchmarks/nothing.py --times 3` |\n| commit | `" in page
    assert " cores, " in page
    assert "| goal | missed on this machine at this time |" in page
    assert "```text\n0 seconds ['--times', '3']\n```" in page


def test_without_it_nothing_is_written(script: Path) -> None:
    done = run(script)
    assert (done.returncode, done.stdout) == (1, "0 seconds []\n"), done.stderr
    assert not script.with_suffix(".md").exists()
