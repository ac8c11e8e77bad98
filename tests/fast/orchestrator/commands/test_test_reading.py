"""The test data is read once for a trial, and every reading is counted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import trainables.measure.client
from orchestrator.analysis.comparison import TestReading, load_comparison, save_test_reading
from orchestrator.commands.test_reading import LOG, read_test_data
from orchestrator.report.terminal import test_words as words  # pytest collects functions by this prefix
from tests.support.sample_sweep import write_sample
from trainables.config.trial import MeasureSettings
from trainables.estimate import Estimate
from trainables.storage import Storage, sweep_file

PLAN = SimpleNamespace(
    sweep=SimpleNamespace(name="sample", measure=MeasureSettings(), facts=SimpleNamespace(search_path=()))
)  # as much of a plan as is looked at
ONCE = "read once, after the choice"


class Reader:
    """Stands for the process that reads the test data, and counts how often it was started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        monkeypatch.setattr(trainables.measure.client, "evaluate_artifact", self)

    def __call__(self, *_: object, **__: object) -> dict[str, Estimate]:
        self.calls += 1
        return {"test_accuracy": Estimate(value=0.9 + self.calls / 100)}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage(str(tmp_path))
    write_sample(storage)
    return storage


def read(storage: Storage) -> str:
    return words(read_test_data(PLAN, storage, Path(storage.root) / "cache"))  # type: ignore[arg-type]


def lines(storage: Storage) -> int:
    return len(storage.read_lines(sweep_file("sample", LOG)))


def test_the_same_trial_is_read_once(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    assert read(storage) == read(storage) == f"test_accuracy 0.910; {ONCE}"
    assert (reader.calls, lines(storage)) == (1, 1)


def test_another_recommendation_is_read_too_and_that_is_said(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    earlier = TestReading(trial="earlier", metrics={"test_accuracy": Estimate(value=0.5)})
    storage.append_lines(sweep_file("sample", LOG), [earlier.model_dump_json(exclude={"readings"})])
    save_test_reading(storage, "sample", earlier)
    twice = "test_accuracy 0.910; read after the choice, but the test data was read 2 times in this sweep"
    assert read(storage) == twice
    assert words(load_comparison(storage, "sample")) == twice  # as `compare` shows it later
    assert (reader.calls, lines(storage)) == (1, 2)


def test_a_trial_that_is_recommended_again_is_not_read_again(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    read(storage)
    other = TestReading(trial="other", metrics={"test_accuracy": Estimate(value=0.5)}, readings=2)
    storage.append_lines(sweep_file("sample", LOG), [other.model_dump_json()])
    save_test_reading(storage, "sample", other)
    assert (
        read(storage) == "test_accuracy 0.910; read after the choice, but the test data was read 2 times in this sweep"
    )
    assert (reader.calls, lines(storage)) == (1, 2)
