"""Files besides its data that a task reads: declared, they are part of a trial's identity; else they are told."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from orchestrator.planning.expand import expand
from orchestrator.sweep.spec import Sweep
from orchestrator.sweepfile.load import load_sweep
from tests.support.sweep_text import sweep_text
from tests.support.tuned_task import TUNED

pytestmark = pytest.mark.usefixtures("rehearsing_here")

READS = 'torch.load(HERE / "backbone.pt")'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    here = tmp_path / "task"
    (here / "data").mkdir(parents=True)
    for number, split in enumerate(("train", "validation", "test")):
        columns = {"features": pa.array([[row + number, 1.0] for row in range(40)], pa.list_(pa.float32()))}
        pq.write_table(pa.table(columns | {"label": [0, 2] * 20}), here / "data" / f"{split}.parquet")
    torch.save({"weight": torch.zeros(3, 2)}, here / "backbone.pt")
    sections = {"objective": "{metric: val_loss}", "compression": None, "goals": None}
    (here / "sweep.yaml").write_text(sweep_text(task="'tuned:Tuned'", **sections))
    write(here)
    monkeypatch.setenv("PARETUNE_CACHE", str(tmp_path / "cache"))
    yield here
    for name in ("tuned", "extra"):
        sys.modules.pop(name, None)


def write(folder: Path, *, files: str = "", made: str = "", built: str = READS) -> None:
    """The task, with these lines in its places."""
    lines = {"# files": f"files = {files}" if files else "", "pass  # made": made or "pass", "pass  # built": built}
    text = TUNED
    for place, line in lines.items():
        text = text.replace(place, line)
    (folder / "tuned.py").write_text(text)
    sys.modules.pop("tuned", None)


def load(folder: Path, *, import_task: bool = False) -> Sweep:
    try:
        return load_sweep(folder / "sweep.yaml", import_task=import_task)
    finally:
        sys.modules.pop("tuned", None)


def ids(folder: Path, *, import_task: bool = False) -> list[str]:
    return [trial.id for trial in expand(load(folder, import_task=import_task)).trials]


def test_other_weights_are_other_trials(folder: Path) -> None:
    write(folder, files='("backbone.pt",)')
    before = ids(folder)
    assert ids(folder, import_task=True) == before, "a plan knows them from the source"
    kept = shutil.copy(folder / "backbone.pt", folder.parent)
    torch.save({"weight": torch.ones(3, 2)}, folder / "backbone.pt")
    assert not set(ids(folder)) & set(before)
    shutil.copy(kept, folder / "backbone.pt")
    assert ids(folder) == before


def test_files_that_only_the_imported_task_knows_count_too(folder: Path) -> None:
    write(folder, files='("backbone" + ".pt",)')
    sweep = load(folder)
    assert (sweep.facts.complete, sweep.facts.train_rows) == (False, 40)
    before = ids(folder, import_task=True)
    torch.save({"weight": torch.ones(3, 2)}, folder / "backbone.pt")
    assert not set(ids(folder, import_task=True)) & set(before)
