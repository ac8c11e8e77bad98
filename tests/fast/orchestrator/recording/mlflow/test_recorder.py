"""How long the recorder waits at the end, and what it says meanwhile: with a scripted shipper, without MLflow."""

import json
import time

import pytest

from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow.cursor import Cursor, Sent, Target
from orchestrator.recording.mlflow.recorder import Unsent
from orchestrator.recording.mlflow.shipper import Shipper
from orchestrator.remote.tracking import Trouble, default_tracking_uri
from orchestrator.sweep.plan import Trial
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig, trial_id
from trainables.redact import without_credentials
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage, sweep_file

URI = "http://me:hunter2@mlflow:5000"


def make_trial(seed: int) -> Trial:
    budget = Budget(unit="steps", amount=10)
    training = Training(batch_size=8, micro_batch_size=8, learning_rate=0.1, budget=budget, seed=seed)
    config = BaselineConfig(task=TaskConfig(name="digits_cnn", data="d", code="c"), training=training)
    return Trial(trial_id(config), config, "as given")


def test_what_is_missing_is_told_in_its_own_words():
    assert str(Unsent(2, "http://here", "refused")).startswith(
        "2 records have not reached MLflow at http://here (refused)"
    )
    assert str(Unsent(0, "http://here", None)).startswith(
        "the experiment's page has not reached MLflow at http://here ("
    )


OUTAGE = Trouble("MLflow at http://mlflow:5000", "does not answer (ConnectionError)", "start it", passes=True)
WRONG = Trouble("MLflow at http://mlflow:5000", "refuses (401)", "set MLFLOW_TRACKING_PASSWORD")


def test_that_the_same_command_sends_it_is_said_only_where_it_does():
    assert str(Unsent(2, "http://here", "x", OUTAGE)) == (
        "2 records have not reached MLflow at http://here (it does not answer (ConnectionError)). "
        "Nothing is lost: the same command sends them when it is run again."
    )
    assert str(Unsent(2, "http://here", "x", WRONG)) == (
        "2 records have not reached MLflow at http://here (it refuses (401)). "
        "The journal keeps them: set MLFLOW_TRACKING_PASSWORD; then the same command sends them."
    )
    assert str(Unsent(2, "http://here", "x: y", None, "/a/b.txt")) == (
        "2 records have not reached MLflow at http://here (x: y; details in /a/b.txt). "
        "Nothing is lost: the same command tries again."
    )
    assert str(Unsent(2, "http://here", None)).endswith("the same command sends them when it is run again.")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:hunter2@mlflow:5000/x", "http://mlflow:5000/x"),
        ("postgresql://me:hun/t@er2@db/x", "postgresql://db/x"),
        ("postgresql://me@db", "postgresql://db"),
        ("no route to http://:hunter2@a:1/b, nor https://b", "no route to http://a:1/b, nor https://b"),
        ("sqlite:////home/me@work/a:b@c.db", "sqlite:////home/me@work/a:b@c.db"),
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("databricks", "databricks"),
    ],
)
def test_credentials_are_left_out(address, shown):
    assert without_credentials(address) == shown


def test_the_cursor_keeps_no_password_and_forgets_nothing_for_it(tmp_path):
    storage = Storage(str(tmp_path))
    file = sweep_file("s", "mlflow.jsonl")
    before = Target(recording="r", tracking_uri=URI, experiment="1")  # as an earlier version wrote it
    storage.append_lines(file, [before.model_dump_json(), Sent(trial="t", run="1").model_dump_json()])
    cursor = Cursor(storage, "s")
    cursor.aim(URI.replace("hunter2", "hunter3"), "1")
    assert list(cursor.sent) == ["t"]
    cursor.aim(URI, "2")
    assert "hunter" not in storage.read_lines(file)[-1]
    assert json.loads(storage.read_lines(file)[-1])["experiment"] == "2"
    with Journal(storage, "s") as journal:
        assert Shipper(journal, URI)._cursor.is_aimed_at("http://mlflow:5000")


def test_a_trial_that_began_anew_is_sent_anew_even_if_its_first_end_never_was(tmp_path):
    storage, trial = Storage(str(tmp_path)), make_trial(0)
    report = Report(step=1, examples=8, seconds=0.1, metrics={})
    with Journal(storage, "s") as journal:
        journal.started(trial)
        journal.report(trial.id, report)
        shipper = Shipper(journal, URI)
        shipper._cursor.aim(URI, "1")
        start = journal.trials[trial.id].started.time_ms
        shipper._cursor.move(Sent(trial=trial.id, run="r", started_ms=start, configured=True, reports=1))
        assert shipper.unsent(trial.id) == 0
        time.sleep(0.01)
        journal.ended(TrialResult(id=trial.id, config=trial.config, status=Status.STOPPED_EARLY, history=(report,)))
        journal.started(trial)
        assert shipper.unsent(trial.id) == 1


def test_a_folder_whose_name_cuts_the_databases_address_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_tracking_uri(Storage(str(tmp_path / "a b ü%#"))) == f"sqlite:///{tmp_path}/a b ü%#/mlflow.db"
    folder = Storage(str(tmp_path / "why?"))
    for kind in (OSError, ValueError):  # as `paretune run` and `paretune ui` expect them
        with pytest.raises(kind, match=r"why\?: the address of an SQLite file must not contain '\?'"):
            default_tracking_uri(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URI)
    assert default_tracking_uri(folder) == URI
