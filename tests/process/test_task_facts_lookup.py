"""A user's own task is known from its source, without being imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.planning.expand import expand
from orchestrator.sweep.spec import Sweep, TaskFacts
from orchestrator.sweepfile.load import load_sweep
from tests.support.sweep_text import load_text, sweep_text
from tests.support.wine_task import WINE, edit, table

pytestmark = pytest.mark.usefixtures("rehearsing_here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module, the module that it imports, and its data."""
    (tmp_path / "wine.py").write_text(WINE)
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    (tmp_path / "other.py").write_text("VALUE = 1\n")
    data = tmp_path / "data"
    (data / "test").mkdir(parents=True)
    for index, name in enumerate(["train", "validation", "test/a", "test/b"]):
        pq.write_table(table(40 + index), data / f"{name}.parquet")
    return tmp_path


def load(folder: Path, task: str = "'wine:Wine'", **sections: str | None) -> Sweep:
    return load_text(folder, sweep_text(task=task, **sections))


def test_importing_gives_the_same_facts_and_completes_them(folder: Path) -> None:
    edit(folder / "wine.py", 'raise SystemExit("a plan must not import this")', "")
    script = f"""
import sys
from orchestrator.sweepfile.load import load_sweep
static = load_sweep({str(folder / "sweep.yaml")!r})
assert "torch" not in sys.modules
imported = load_sweep({str(folder / "sweep.yaml")!r}, import_task=True)
assert "torch" in sys.modules
assert imported.facts == static.facts, (imported.facts, static.facts)
"""
    load(folder, compression=None, goals=None)  # for which its model is too small
    subprocess.run([sys.executable, "-c", script], check=True)


def test_importing_finds_what_reading_cannot(folder: Path) -> None:
    load(folder)
    code = (
        "from orchestrator.sweepfile.load import load_sweep; "
        f"load_sweep({str(folder / 'sweep.yaml')!r}, import_task=True)"
    )
    edit(folder / "wine.py", 'raise SystemExit("a plan must not import this")', "import no_such_library")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "SweepError" in done.stderr
    assert "no_such_library" in done.stderr


def imported(folder: Path, options: dict[str, object], task: str = "wine:Wine") -> TaskFacts:
    """The facts that `run` begins with."""
    chosen = json.dumps({"name": task, "options": options})
    (folder / "sweep.yaml").write_text(sweep_text(task=chosen, compression=None, goals=None))
    try:
        return load_sweep(folder / "sweep.yaml", import_task=True).facts
    finally:
        sys.modules.pop("wine", None)


@pytest.fixture
def flavours(folder: Path) -> Path:
    """A task with an option that chooses its data."""
    edit(folder / "wine.py", 'raise SystemExit("a plan must not import this")', "")
    edit(folder / "wine.py", "self.size = size", 'self.train = f"data/{flavour}.parquet"')
    for rows, name in enumerate(("red", "white"), start=50):
        pq.write_table(table(rows), folder / "data" / f"{name}.parquet")
    return folder


BOTH = {"flavour": {"values": ["white", "red"]}}


def test_every_combination_of_options_has_the_fingerprint_of_its_own_data(flavours: Path) -> None:
    before = imported(flavours, BOTH)
    white, red = before.data
    assert white != red
    assert (before.train_rows, before.complete) == (50, True)
    assert imported(flavours, {"flavour": {"values": ["red", "white"]}}).data == (red, white)
    assert set(imported(flavours, {"flavour": "red"}).data) == {red}  # a sweep of fewer finds the same trials
    assert set(imported(flavours, {"flavour": "red", "size": {"values": [1, 2]}}).data) == {red}
    pq.write_table(table(60), flavours / "data" / "red.parquet")
    after = imported(flavours, BOTH).data
    assert (after[0], after[1] != red) == (white, True)
    trials = expand(load_sweep(flavours / "sweep.yaml", import_task=True)).trials
    assert {(trial.config.task.options["flavour"], trial.config.task.data) for trial in trials} == {
        ("white", after[0]),
        ("red", after[1]),
    }
    sys.modules.pop("wine", None)
