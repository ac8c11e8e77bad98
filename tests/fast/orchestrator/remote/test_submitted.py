"""How a person names a sweep that was submitted, and what is said of how far it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.analysis.plan_file import StoredPlan, StoredTrial, TableError, save_plan
from orchestrator.commands.jobs import _as_json, _as_text
from orchestrator.commands.sweep_status import HowFar, how_far
from orchestrator.recording.journal import Journal
from orchestrator.remote.submitted import STORAGE, SWEEP, SubmittedSweep, find, submitted_sweeps
from orchestrator.remote.token import ClusterError
from orchestrator.sweep.spec import Objective
from tests.fast.orchestrator.recording.test_journal import make_report, make_result, make_trial
from trainables.results import Status
from trainables.storage import Storage

LONG_AGO, NOW = 0, 1 << 60


def job(name: str, sweep: str, state: str, start: int, storage: str = "/srv/p") -> dict[str, Any]:
    metadata = {SWEEP: sweep, STORAGE: storage, "job_submission_id": name}
    return {"submission_id": name, "status": state, "start_time": start, "end_time": None, "metadata": metadata}


def listed(*jobs: dict[str, Any]) -> list[SubmittedSweep]:
    others = [{"submission_id": "doctor-1", "status": "SUCCEEDED", "metadata": {}}, {"submission_id": None}]
    return submitted_sweeps([*others, *jobs])


def test_sweeps_alone_are_listed_the_latest_first() -> None:
    sweeps = listed(job("a-1", "a", "FAILED", 1), job("b-1", "b", "RUNNING", 2))
    assert [sweep.id for sweep in sweeps] == ["b-1", "a-1"]
    assert sweeps[0].as_json() == {
        "id": "b-1",
        "sweep": "b",
        "storage": "/srv/p",
        "status": "RUNNING",
        "started": "1970-01-01T00:00:00+00:00",
        "ended": None,
    }


def test_a_sweeps_name_means_its_job_at_work_else_the_latest() -> None:
    sweeps = listed(job("a-1", "a", "FAILED", 1), job("a-2", "a", "RUNNING", 2), job("a-3", "a", "FAILED", 3))
    assert find(sweeps, "a").id == "a-2"
    assert find(sweeps, "a-1").id == "a-1"
    assert find([sweep for sweep in sweeps if not sweep.is_at_work], "a").id == "a-3"


def test_what_cannot_be_told_apart_or_is_not_there_is_said() -> None:
    twice = listed(job("a-1", "a", "RUNNING", 1), job("a-2", "a", "RUNNING", 2, "s3://b/p"))
    with pytest.raises(ClusterError, match="several jobs run a sweep 'a': give one of a-2, a-1"):
        find(twice, "a")
    with pytest.raises(ClusterError, match="jobs: a-2, a-1; did you mean 'a-1'"):
        find(twice, "a-11")
    with pytest.raises(ClusterError, match="no sweep has been submitted to this cluster"):
        find([], "a")


@pytest.fixture
def storage(tmp_path) -> Storage:
    """One trial ended, one at work, one waits, and two variants wait for their baseline."""
    storage = Storage(str(tmp_path))
    trials = [make_trial(seed) for seed in range(3)]
    plan = StoredPlan(
        name="s",
        task="digits_cnn",
        objective=Objective(metric="val_loss", mode="min"),
        trials=tuple(StoredTrial(id=trial.id, config=trial.config) for trial in trials),
        to_come=2,
    )
    save_plan(storage, plan)
    with Journal(storage, "s") as journal:
        journal.started(make_trial(99))  # of an earlier plan: it does not count
        for trial in trials[:2]:
            journal.started(trial)
            journal.report(trial.id, make_report(4, loss=0.25))
        journal.ended(make_result(trials[0], [4], Status.DIVERGED))
    return storage


def test_a_sweeps_trials_are_counted_from_its_plan_and_journal(storage: Storage) -> None:
    far = HowFar.model_validate_json(how_far(storage, "s").model_dump_json())
    assert far.words(LONG_AGO) == "1 of 5 trials ended (1 diverged); 1 running, 3 waiting"
    (running,) = far.running(LONG_AGO)
    assert (running.id, running.fraction, running.objective) == (make_trial(1).id, 0.4, 0.25)
    with pytest.raises(TableError, match="no sweep 'other'"):
        how_far(storage, "other")


def test_nothing_runs_that_the_driver_at_work_has_not_begun(storage: Storage) -> None:
    far = how_far(storage, "s")
    assert far.words(NOW) == "1 of 5 trials ended (1 diverged); 0 running, 4 waiting"
    assert far.words(None) == "1 of 5 trials ended (1 diverged); 0 running, 4 not run"


def test_a_status_is_said_to_a_person_and_to_a_script(storage: Storage) -> None:
    (at_work,) = listed(job("s-1", "s", "RUNNING", LONG_AGO))
    far = how_far(storage, "s")
    text = _as_text(at_work, far, "")
    assert "s-1: RUNNING since" in text
    assert f"  {make_trial(1).id}  batch 8, rate 0.1, seed 1: 40% of its budget, val_loss 0.25, since" in text
    trials = json.loads(_as_json(at_work, far, ""))["trials"]
    assert (trials["total"], trials["ended"], trials["waiting"]) == (5, {"diverged": 1}, 3)
    assert trials["running"][0]["val_loss"] == 0.25

    (stopped,) = listed(job("s-1", "s", "STOPPED", LONG_AGO))
    assert "1 trial interrupted: submit again" in _as_text(stopped, far, "")
    assert "Its progress is not known: it is hidden" in _as_text(stopped, None, "it is hidden")
    assert json.loads(_as_json(stopped, None, "it is hidden"))["problem"] == "it is hidden"
