"""How long the recorder waits at the end, and what it says meanwhile: with a scripted shipper, without MLflow."""

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.machine.signals import heeding_signals
from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow import recorder as recording
from orchestrator.recording.mlflow.recorder import Recorder
from orchestrator.remote.tracking import Trouble
from orchestrator.sweep.plan import Trial
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig, trial_id
from trainables.results import Status, TrialResult
from trainables.storage import Storage

URI = "http://me:hunter2@mlflow:5000"


def make_trial(seed: int) -> Trial:
    budget = Budget(unit="steps", amount=10)
    training = Training(batch_size=8, micro_batch_size=8, learning_rate=0.1, budget=budget, seed=seed)
    config = BaselineConfig(task=TaskConfig(name="digits_cnn", data="d", code="c"), training=training)
    return Trial(trial_id(config), config, "as given")


class ScriptedShipper:
    """Sends a trial by calling `sending`; what it raises is what MLflow would."""

    def __init__(self, journal: Journal, sending: Callable[["ScriptedShipper"], None]) -> None:
        self._missing, self._sending = set(journal.trials), sending
        self.running = set(journal.trials)  # as MLflow has them
        self.is_uploading = False
        self.uploaded: set[str] = set()

    def unsent(self, trial: str) -> int:
        return trial in self._missing

    def ship(self, trial: str) -> None:
        self._sending(self)
        self._missing.discard(trial)

    def connect(self) -> None:
        pass

    tidy = connect

    def interrupt(self, *, in_a_hurry: bool = False) -> None:
        self.running.clear()


@pytest.fixture
def close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The answer of a recorder that is closed at once, with six trials to send in a given way."""

    def close(sending, timeout, **settings):
        for name, value in settings.items():
            monkeypatch.setattr(recording, name, value)
        monkeypatch.setattr(recording, "trouble_with", settings.get("trouble_with", lambda _: None))
        monkeypatch.setattr(recording, "Shipper", lambda journal, *_: ScriptedShipper(journal, sending))
        with Journal(Storage(str(tmp_path)), "s") as journal:
            for seed in range(6):
                journal.started(make_trial(seed))
            return Recorder(journal, URI).close(timeout)

    return close


def test_a_sender_that_gets_on_is_not_cut_off(close, capsys):
    assert close(lambda _: time.sleep(0.6), timeout=3.0, QUIET_SECONDS=20.0) is None
    assert capsys.readouterr() == ("", "")  # it was quick enough to say nothing


@pytest.mark.parametrize(("own", "used"), [({}, "30"), ({"MLFLOW_HTTP_REQUEST_TIMEOUT": "300"}, "300")])
def test_a_time_out_of_the_users_own_stays(own, used):
    code = "from orchestrator.remote.tracking import MLFLOW_ENVIRONMENT as e; print(e['MLFLOW_HTTP_REQUEST_TIMEOUT'])"
    others = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    done = subprocess.run([sys.executable, "-c", code], env=others | own, capture_output=True, text=True, check=True)
    assert done.stdout == f"{used}\n"


def upload(shipper: ScriptedShipper) -> None:
    shipper.is_uploading = True
    time.sleep(0.7)
    shipper.uploaded.add(f"trial {len(shipper.uploaded)}")
    shipper.is_uploading = False
    time.sleep(0.05)  # for what is sent after it


def away(_: ScriptedShipper) -> None:
    raise ConnectionError(f"nobody answers at {URI}")


def test_a_model_that_takes_longer_than_that_is_waited_for(close):
    assert close(upload, timeout=0.5) is None


def test_but_not_for_ever(close):
    unsent = close(upload, timeout=0.2, LONGEST_UPLOAD_SECONDS=0.5)
    assert (unsent.records, unsent.problem) == (6, None)


def test_a_server_that_is_away_is_given_up_and_no_password_is_printed(close, capsys):
    start = time.monotonic()
    unsent = close(away, timeout=3.0, QUIET_SECONDS=1.0)
    assert time.monotonic() - start < 3.0 + 4
    assert unsent.records == 6
    assert unsent.problem == "ConnectionError: nobody answers at http://mlflow:5000"
    output, errors = capsys.readouterr()
    told = f"trying ({unsent.problem}) to send 6 records to MLflow at http://mlflow:5000"
    assert (output, errors) == ("", f"paretune: {told}; Ctrl-C postpones this to the next run\n")
    assert "hunter2" not in str(unsent)


def test_control_c_leaves_the_rest_to_the_next_run(close, capsys):
    timer = threading.Timer(0.5, _thread.interrupt_main)
    timer.start()
    start = time.monotonic()
    unsent = close(away, timeout=30.0, QUIET_SECONDS=0.1)
    assert time.monotonic() - start < 10
    assert unsent.records == 6
    assert "Ctrl-C postpones this to the next run" in capsys.readouterr().err


@pytest.mark.parametrize("sending", [away, lambda _: time.sleep(9)], ids=["away", "hanging"])
def test_who_is_about_to_be_killed_says_at_least_that_nothing_runs(tmp_path, monkeypatch, sending):
    shippers: list[ScriptedShipper] = []
    monkeypatch.setattr(recording, "Shipper", lambda j, *_: shippers.append(ScriptedShipper(j, sending)) or shippers[0])
    with heeding_signals() as interrupts, Journal(Storage(str(tmp_path)), "s") as journal:
        for seed in range(6):
            journal.started(make_trial(seed))
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        start, recorder = time.monotonic(), Recorder(journal, URI)
        assert recorder.close(30.0, interrupts=interrupts).records == 6
    assert time.monotonic() - start < recording.HURRIED_SECONDS + recording.LAST_WORD_SECONDS + 2
    assert shippers[0].running == set()


class CompleteShipper(ScriptedShipper):
    """As far as it knows MLflow has everything; `sending` is what comes of asking whether it has it still."""

    def unsent(self, trial: str) -> int:
        return 0

    def look_again(self) -> None:
        self._sending(self)


@pytest.mark.parametrize("silence", [away, lambda _: time.sleep(9)], ids=["away", "hanging"])
def test_a_server_that_does_not_answer_does_not_hold_up_a_finished_sweep(tmp_path, monkeypatch, silence):
    monkeypatch.setattr(recording, "Shipper", lambda journal, *_: CompleteShipper(journal, silence))
    monkeypatch.setattr(recording, "QUIET_SECONDS", 0.5)
    trial = make_trial(0)
    with Journal(Storage(str(tmp_path)), "s") as journal:
        journal.ended(TrialResult(id=trial.id, config=trial.config, status=Status.FAILED))
        recorder, start = Recorder(journal, URI), time.monotonic()
        assert recorder.close(30.0) is None
        assert time.monotonic() - start < 4


OUTAGE = Trouble("MLflow at http://mlflow:5000", "does not answer (ConnectionError)", "start it", passes=True)
WRONG = Trouble("MLflow at http://mlflow:5000", "refuses (401)", "set MLFLOW_TRACKING_PASSWORD")


@pytest.mark.parametrize("trouble", [OUTAGE, WRONG, None], ids=["away", "wrong", "unknown"])
def test_an_outage_is_told_when_it_begins_and_when_it_ends(tmp_path, monkeypatch, capsys, trouble):
    monkeypatch.setattr(recording, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(recording, "GATHER_SECONDS", 0.01)
    monkeypatch.setattr(recording, "trouble_with", lambda _: trouble)
    is_away, failures = threading.Event(), []

    def sending(_: ScriptedShipper) -> None:
        if is_away.is_set():
            failures.append(1)
            raise ConnectionError(f"nobody answers at {URI}")

    monkeypatch.setattr(recording, "Shipper", lambda journal, *_: ScriptedShipper(journal, sending))
    storage = Storage(str(tmp_path))
    with Journal(storage, "s") as journal:
        journal.started(make_trial(0))
        is_away.set()
        recorder = Recorder(journal, URI)
        while len(failures) < 8:
            time.sleep(0.01)
        begun = capsys.readouterr().err
        is_away.clear()
        assert recorder.close(30.0) is None
    ended = capsys.readouterr().err
    kept = f"{storage.root}/sweeps/s/mlflow-failure.txt"
    assert (
        begun
        == {
            OUTAGE: f"paretune: {OUTAGE.finding}; the sweep continues; missing records are sent later\n",
            WRONG: f"paretune: {WRONG.finding}; the sweep continues; set MLFLOW_TRACKING_PASSWORD\n",
            None: "paretune: MLflow at http://mlflow:5000 fails with ConnectionError: nobody answers at "
            f"http://mlflow:5000 (details in {kept}); the sweep continues; missing records are sent again\n",
        }[trouble]
    )
    assert ended == "paretune: MLflow at http://mlflow:5000 records again; it has all missing records now\n"
    if trouble is None:
        details = Path(kept).read_text()
        assert "Traceback" in details
        assert "hunter2" not in details


def test_who_waits_is_told_for_what(close, capsys):
    assert close(lambda _: time.sleep(0.2), timeout=1.0, QUIET_SECONDS=0.0) is None
    assert "paretune: sending 6 records to MLflow at http://mlflow:5000;" in capsys.readouterr().err
