"""A user's task is tried on a few rows before anything is spent: each mistake is told with its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from orchestrator.sweepfile.load import load_sweep
from tests.support.rehearsed_task import WINE, rehearsed, table
from tests.support.snippets import ROOT
from tests.support.sweep_text import sweep_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wine.py").write_text(WINE)
    (tmp_path / "data").mkdir()
    for number, split in enumerate(("train", "validation", "test")):
        pq.write_table(table(100 * number), tmp_path / "data" / f"{split}.parquet")
    (tmp_path / "sweep.yaml").write_text(sweep_text(task="'wine:Wine'", compression=None, goals=None))
    return tmp_path


MISTAKES = {
    "a reduced loss": (
        ', reduction="none"',
        "",
        "Wine.losses() must give one value per item, shape [items]; got shape []",
    ),
    "a reduced score": (").float()}", ").float().mean()}", "Wine.scores()['accuracy'] must give one value per item"),
    "a score that is missing": (
        '"accuracy": (',
        '"acuracy": (',
        "Wine.scores() returned ['acuracy'], without ['accuracy']",
    ),
    "a model for other data": ("nn.Linear(2, 8)", "nn.Linear(4, 8)", "failed on the first rows of its train data"),
    "a model that cannot be built": (
        "return nn.Sequential",
        'raise ValueError("no layers"); return nn.Sequential',
        "Wine.build_model() failed: ValueError: no layers (wine.py, line 21, in build_model)",
    ),
    "a column that is not there": (
        'batch["label"], red',
        'batch["lable"], red',
        "KeyError: 'lable' (wine.py, line 24, in losses); columns are features, label",
    ),
    "a loss that is a number": (
        'return nn.functional.cross_entropy(outputs, batch["label"], reduction="none")',
        "return 0.5",
        "Wine.losses() must give a tensor with one value per item, not a float",
    ),
    "a score in NumPy": (").float()}", ").float().numpy()}", "with one value per item, not a ndarray"),
    "what goes backward no more": (
        'reduction="none")',
        'reduction="none") * outputs.exp().mul_(2).exp().add_(1).log()[:, 0].sigmoid_()',
        "modified by an inplace operation",
    ),
    "sparse gradients": (
        "nn.Linear(2, 8), nn.BatchNorm1d(8)",
        "Embedded(), nn.BatchNorm1d(8)",
        "Wine.build_model() gives sparse gradients: leave out sparse=True",
    ),
    "a model that is compiled": (
        "return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))",
        "return torch.compile(nn.Linear(2, 3))",
        "Wine.build_model() returns torch.compile(model): call model.compile(), return model",
    ),
    "a loss without the model": (
        "cross_entropy(outputs,",
        "cross_entropy(outputs.detach(),",
        "Wine.losses() does not depend on any parameter of the model",
    ),
    "inputs that are not there": (
        "    metrics",
        '    inputs = ("image",)\n    metrics',
        "Wine.train: no column 'image'; it has 'label', 'features'",
    ),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch.compile's own
@pytest.mark.usefixtures("rehearsing_here")
@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_the_code_is_told_before_any_trial(folder: Path, case: str) -> None:
    old, new, words = MISTAKES[case]
    assert old in WINE
    (folder / "wine.py").write_text(WINE.replace(old, new))
    assert words in rehearsed(folder)


def test_the_guide_shows_what_is_said(folder: Path) -> None:
    old, new, _ = MISTAKES["a reduced loss"]
    (folder / "wine.py").write_text(WINE.replace(old, new))
    assert rehearsed(folder) in (ROOT / "docs/guides/own-task.md").read_text()


def test_what_the_module_sets_while_it_is_imported_holds_for_every_combination(folder: Path) -> None:
    options = "    def __init__(self, hidden=8):\n        self.hidden = hidden\n\n    def build_model"
    needs = "assert torch.get_default_dtype() == torch.float64\n        return nn.Sequential"
    module = WINE.replace("    def build_model", options, 1).replace("return nn.Sequential", needs)
    module = module.replace("class Wine", "torch.set_default_dtype(torch.float64)\n\n\nclass Wine", 1)
    module += "\n    def forward(self, model, batch):\n        return model(batch['features'].double())\n"
    (folder / "wine.py").write_text(module)
    task = "{name: 'wine:Wine', options: {hidden: {values: [8, 16]}}}"
    (folder / "sweep.yaml").write_text(sweep_text(task=task, compression=None, goals=None))
    before = torch.get_default_dtype()
    try:
        assert rehearsed(folder) == ""
    finally:
        torch.set_default_dtype(before)  # the driver has imported it too


def test_a_task_that_ends_its_process_teaches_nothing(folder: Path) -> None:
    """As the system does with one that takes all of the memory."""
    (folder / "wine.py").write_text(
        WINE.replace("return nn.Sequential", "import os; os.abort()\n        nn.Sequential")
    )
    assert rehearsed(folder) == ""


COMPRESSION = {
    "inputs by name": (
        "    def losses",
        "    def forward(self, model, batch):\n        return model(input=batch['features'])\n\n    def losses",
        "Wine cannot be compressed: Wine.forward() gives the model input= by name",
    ),
    "a student of a width that there is not": (
        "    def build_model(self, width=1.0):\n",
        "    def build_model(self, width=1.0):\n        assert width == 1, 'one width only'\n",
        "distill 0.25: Wine cannot be compressed: AssertionError: one width only (wine.py, line 21",
    ),
    "several outputs and no word of how far two are apart": (
        "    def losses(self, outputs, batch):\n",
        "    def forward(self, model, batch):\n        return {'scores': model(batch['features'])}\n\n"
        "    def losses(self, outputs, batch):\n        outputs = outputs['scores']\n",
        "override distillation_losses()",
    ),
}


@pytest.mark.usefixtures("rehearsing_here")
@pytest.mark.parametrize("case", COMPRESSION)
def test_what_stands_in_the_way_of_compression_is_told_before_any_trial(folder: Path, case: str) -> None:
    old, new, words = COMPRESSION[case]
    assert old in WINE
    changed = WINE.replace(old, new).replace(
        "(outputs.argmax", "(getattr(outputs, 'get', lambda _: outputs)('scores').argmax"
    )
    (folder / "wine.py").write_text(changed)
    notes = load_sweep(folder / "sweep.yaml", import_task=True).facts.notes
    sys.modules.pop("wine", None)
    assert rehearsed(folder) == "", "it can be trained"
    assert any(words in note for note in notes) is words.startswith("Wine cannot be compressed"), "it is noted"
    assert all(note.endswith("It can be trained all the same") for note in notes)
    chains = "{variants: [[{distill: {width: 0.25}}]]}"
    (folder / "sweep.yaml").write_text(sweep_text(task="'wine:Wine'", compression=chains, goals=None))
    assert words in rehearsed(folder)
