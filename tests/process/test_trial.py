"""One whole baseline trial, on real data: its readings, its one result, and what it leaves in the storage."""

import io

import pytest
import torch

from tests.support.training_samples import differing, training, worker
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.trial import run_trial

TRIAL = "0123456789ab"


def baseline(task="digits_cnn", options=None, **changes):
    settings = {"batch_size": 32, "steps": 40, "evaluations": 4, "learning_rate": 0.02} | changes
    named = TaskConfig(name=task, options=options or {"channels": 4}, data="of the test", code="of the test")
    return BaselineConfig(task=named, training=training(**settings))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(place, all that the trial yielded, its result)."""
    here = worker(tmp_path_factory.mktemp("trial"))
    *reports, result = run_trial(TRIAL, baseline(), here)
    return here, reports, result


@pytest.mark.parametrize("kept", [1, 7, 8])
def test_a_trial_that_was_killed_goes_on_and_ends_alike(finished, tmp_path, kept):
    """Killed after one reading, after the last one, and after its result was given but before it was taken."""
    whole, reports, expected = finished
    here = worker(tmp_path)
    running = run_trial(TRIAL, baseline(), here)
    for _ in range(kept):
        next(running)
    running.close()
    *rest, result = run_trial(TRIAL, baseline(), here)
    assert [report.step for report in rest] == [report.step for report in reports[kept:]]
    assert [report.step for report in result.history] == [2, 3, 5, 10, 20, 30, 40]
    timed = {"examples_per_second", "train_seconds", "artifact_bytes"}
    assert {k: v for k, v in result.metrics.items() if k not in timed} == {
        k: v for k, v in expected.metrics.items() if k not in timed
    }
    weights = [
        torch.load(io.BytesIO(storage.read(f"trials/{TRIAL}/weights.pt")), weights_only=True)
        for storage in (whole.storage, here.storage)
    ]
    assert differing(*weights) == []
