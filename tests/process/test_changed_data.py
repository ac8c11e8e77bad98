"""A trial's id stands for its data: data that was changed since the plan is not trained on, nor judged by."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.planning.expand import expand
from orchestrator.sweep.plan import Trial
from orchestrator.sweepfile.load import load_sweep
from tests.support.places import ROOT
from tests.support.training_samples import worker
from trainables.config.trial import MeasureSettings
from trainables.data.sources import DataError
from trainables.measure.client import MeasureError, evaluate_artifact
from trainables.results import Status, TrialResult
from trainables.storage import trial_file
from trainables.trial import run_trial

EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.usefixtures("rehearsing_here")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("own_task.py", "own_task.yaml", "make_own_data.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    subprocess.run([sys.executable, tmp_path / "make_own_data.py"], check=True)
    monkeypatch.syspath_prepend(tmp_path)  # as the workers' is
    yield tmp_path
    sys.modules.pop("own_task", None)


def planned(folder: Path) -> tuple[Trial, ...]:
    return expand(load_sweep(folder / "own_task.yaml", import_task=True)).trials


def drop_a_row(folder: Path, split: str) -> None:
    file = folder / "data" / f"{split}.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)


@pytest.mark.parametrize(
    "split",
    [
        "validation",
        pytest.param("train", marks=pytest.mark.nightly),
        pytest.param("test", marks=pytest.mark.nightly),
    ],
)
def test_a_trial_does_not_take_other_data_for_its_own(folder: Path, split: str) -> None:
    first, second, *_ = planned(folder)
    *_, result = run_trial(first.id, first.config, worker(folder))
    assert isinstance(result, TrialResult)
    assert result.status is Status.COMPLETED
    drop_a_row(folder, split)
    with pytest.raises(DataError, match="differs from the state that this trial was planned with"):
        list(run_trial(second.id, second.config, worker(folder)))
    again = planned(folder)
    assert not {trial.id for trial in again} & {first.id, second.id}
    *_, result = run_trial(again[1].id, again[1].config, worker(folder))
    assert isinstance(result, TrialResult)
    assert result.status is Status.COMPLETED


def test_the_test_data_is_that_of_the_plan(folder: Path) -> None:
    trial, here = planned(folder)[0], worker(folder)
    list(run_trial(trial.id, trial.config, here))
    model = Path(here.storage.path(trial_file(trial.id, "model.pt2")))
    found = evaluate_artifact(model, trial.config.task, here.cache, measure=MeasureSettings(device="cpu"))
    assert 0.8 < found["test_accuracy"].value <= 1
    drop_a_row(folder, "test")
    with pytest.raises(MeasureError, match="differs from the state that this trial was planned with"):
        evaluate_artifact(model, trial.config.task, here.cache, measure=MeasureSettings(device="cpu"))


def test_data_in_another_place_with_the_same_content_is_the_same(folder: Path, tmp_path_factory) -> None:
    """Another machine has its own copy, made at another time."""
    trial = planned(folder)[0]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.move(folder / "data", elsewhere)
    shutil.copytree(elsewhere / "data", folder / "data")
    *_, result = run_trial(trial.id, trial.config, worker(folder))
    assert isinstance(result, TrialResult)
    assert result.status is Status.COMPLETED
