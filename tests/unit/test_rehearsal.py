"""A user's task is tried on a few rows before anything is spent: each mistake is told with its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.problems import SweepError
from orchestrator.spec import load_sweep
from tests.readme import README
from tests.unit.sweep_text import sweep_text

WINE = """
import torch
from torch import nn
from trainables.tasks import Task


class Wine(Task):
    train, validation, test = "data/train.parquet", "data/validation.parquet", "data/test.parquet"
    metrics = {"accuracy": "max"}

    def build_model(self, width=1.0):
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))

    def losses(self, outputs, batch):
        return nn.functional.cross_entropy(outputs, batch["label"], reduction="none")

    def scores(self, outputs, batch):
        return {"accuracy": (outputs.argmax(1) == batch["label"]).float()}
"""


def table(start: int, **changes: object) -> pa.Table:
    rows = range(start, start + 40)
    columns = {"features": pa.array([[row / 9, 1.0] for row in rows], pa.list_(pa.float32())), "label": [0, 2] * 20}
    return pa.table({name: column for name, column in (columns | changes).items() if column is not None})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wine.py").write_text(WINE)
    (tmp_path / "data").mkdir()
    for number, split in enumerate(("train", "validation", "test")):
        pq.write_table(table(100 * number), tmp_path / "data" / f"{split}.parquet")
    (tmp_path / "sweep.yaml").write_text(sweep_text(task="'wine:Wine'", compression=None, goals=None))
    return tmp_path


def rehearsed(folder: Path) -> str:
    """The problems that `run` begins with; empty if there are none."""
    try:
        load_sweep(folder / "sweep.yaml", import_task=True)
    except SweepError as error:
        return "\n".join(map(str, error.problems))
    finally:
        sys.modules.pop("wine", None)
    return ""


def test_a_task_that_can_be_trained_has_no_problems_and_nothing_is_kept(folder: Path) -> None:
    before = sorted(folder.rglob("*.parquet"))
    assert rehearsed(folder) == ""
    assert sorted(folder.rglob("*.parquet")) == before


MISTAKES = {
    "a reduced loss": (
        ', reduction="none"',
        "",
        "Wine.losses() must give one value per item, shape [items], not reduced; got []",
    ),
    "a reduced score": (").float()}", ").float().mean()}", "Wine.scores()['accuracy'] must give one value per item"),
    "a score that is missing": ('"accuracy": (', '"acuracy": (', "Wine.scores() returned ['acuracy', 'loss'], without"),
    "a model for other data": ("nn.Linear(2, 8)", "nn.Linear(4, 8)", "failed on the first 3 rows of its train data"),
    "a model that cannot be built": (
        "return nn.Sequential",
        'raise ValueError("no layers"); return nn.Sequential',
        "Wine.build_model() failed: ValueError: no layers (wine.py, line 12, in build_model)",
    ),
    "a column that is not there": (
        'batch["label"], red',
        'batch["lable"], red',
        "KeyError: 'lable' (wine.py, line 15, in losses)",
    ),
    "a loss without the model": (
        "cross_entropy(outputs,",
        "cross_entropy(outputs.detach(),",
        "Wine.losses() does not depend on any parameter of the model",
    ),
    "inputs that are not there": (
        "    metrics",
        '    inputs = ("image",)\n    metrics',
        "has no column 'image', which `inputs` names; it has 'features', 'label'",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_the_code_is_told_before_any_trial(folder: Path, case: str) -> None:
    old, new, words = MISTAKES[case]
    assert old in WINE
    (folder / "wine.py").write_text(WINE.replace(old, new))
    assert words in rehearsed(folder)


DATA = {
    "another column": ("validation", {"colour": [1.0] * 40}, "they must be the same"),
    "another shape": ("test", {"features": [[1.0]] * 40}, "they must be the same"),
    "text": ("train", {"label": ["red"] * 40}, "column 'label' of"),
    "a class too many": ("train", {"label": [3] * 40}, "failed on the first 3 rows of its train data: IndexError"),
}


@pytest.mark.parametrize("case", DATA)
def test_a_mistake_in_the_data_is_told_before_any_trial(folder: Path, case: str) -> None:
    split, changes, words = DATA[case]
    pq.write_table(table(500, **changes), folder / "data" / f"{split}.parquet")
    assert words in rehearsed(folder)


def test_the_readme_shows_what_is_said(folder: Path) -> None:
    old, new, _ = MISTAKES["a reduced loss"]
    (folder / "wine.py").write_text(WINE.replace(old, new))
    assert rehearsed(folder) in README.read_text()
