"""`paretune ui` serves what was recorded, says where, and ends without leaving a process behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow.recorder import Recorder
from tests.support import made_up
from tests.support.recorded import MLFLOW_WARNINGS, quiet_environment, storage_with_database

pytestmark = pytest.mark.filterwarnings(*MLFLOW_WARNINGS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(storage: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator", "ui", *arguments, "--storage", str(storage)]


@pytest.fixture
def storage(tmp_path: Path, database: Path) -> Path:
    storage_with_database(tmp_path, database)
    MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").create_experiment("digits")
    return tmp_path


def fetch(url: str) -> int:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the scheme is http, from our own server
        return int(answer.status)


def test_the_view_of_a_sweep_is_served_until_interrupted(storage: Path) -> None:
    port = free_port()
    with subprocess.Popen(command(storage, "digits", "--port", str(port)), stdout=subprocess.PIPE, text=True) as ui:
        try:
            assert ui.stdout is not None
            page = ui.stdout.readline().strip()
            assert page.startswith(f"http://127.0.0.1:{port}/#/experiments/1/runs?")
            assert fetch(page) == 200
        finally:
            ui.send_signal(signal.SIGINT)
            ui.wait(60)
    assert ui.returncode == 0
    with pytest.raises(OSError, match="refused"):
        fetch(page)


def test_an_experiment_that_a_person_renamed_is_found(tmp_path: Path, database: Path) -> None:
    storage, trial = storage_with_database(tmp_path / "storage", database), made_up.baseline(16)
    uri = f"sqlite:///{storage.root}/mlflow.db"
    with Journal(storage, "digits") as journal:
        recorder = Recorder(journal, uri)
        journal.started(trial)
        journal.ended(made_up.result(trial))
        assert recorder.close() is None
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    client.rename_experiment(experiment.experiment_id, "digits of may")
    port = free_port()
    asked = command(tmp_path / "storage", "digits", "--port", str(port))
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, env=quiet_environment()) as ui:
        assert ui.stdout is not None
        page = ui.stdout.readline().strip()
        ui.send_signal(signal.SIGINT)
    assert page.startswith(f"http://127.0.0.1:{port}/#/experiments/{experiment.experiment_id}/runs?")


def test_what_is_not_there_is_named(storage: Path) -> None:
    done = subprocess.run(command(storage, "digit"), capture_output=True, text=True)
    assert done.returncode == 2
    assert "no sweep 'digit'" in done.stderr
    assert "digits" in done.stderr
    done = subprocess.run(command(storage / "nowhere"), capture_output=True, text=True)
    assert done.returncode == 2
    assert "nothing is recorded" in done.stderr


def test_a_port_in_use_is_named(storage: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = subprocess.run(command(storage, "--port", str(port)), capture_output=True, text=True)
    assert done.returncode == 2
    assert f"port {port} is in use" in done.stderr
