"""How long the recorder waits at the end, and what it says meanwhile: with a scripted shipper, without MLflow."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow import recorder as recording
from orchestrator.recording.mlflow.recorder import Recorder
from orchestrator.sweep.plan import Trial
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig, trial_id
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
    code = "from orchestrator.remote.tracking import ENVIRONMENT as e; print(e['MLFLOW_HTTP_REQUEST_TIMEOUT'])"
    others = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    done = subprocess.run([sys.executable, "-c", code], env=others | own, capture_output=True, text=True, check=True)
    assert done.stdout == f"{used}\n"
