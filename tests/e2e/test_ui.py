"""`paretune ui` serves what was recorded, says where, and ends without leaving a process behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(storage: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator", "ui", *arguments, "--storage", str(storage)]


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    code = f"from mlflow.tracking import MlflowClient; MlflowClient({uri!r}).create_experiment('digits')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
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
