"""What is wrong where MLflow records, said before a sweep runs; what passes by itself is told from what does not."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from orchestrator.commands import run
from orchestrator.commands.ui import ui_command
from orchestrator.remote.tracking import TrackingError, check_tracking
from tests.support.places import ROOT

SWEEP = ROOT / "examples/digits.yaml"


class Answer(BaseHTTPRequestHandler):
    """Takes one user with a password, and gives the server's `status` and `body`."""

    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        is_known = self.headers["Authorization"] == "Basic bWU6cmlnaHQ="  # me:right
        self.send_response(self.server.status if is_known else 401)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


class Server(HTTPServer):
    status, body = 200, b'{"experiments": []}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "right")
    with Server(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_run_says_so_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "load_note", lambda: "")  # of a machine that is busy with other tests
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:5000")
    with pytest.raises(TrackingError):
        check_tracking("localhost:5000")
    assert run.run_command(SWEEP, str(tmp_path)) == 2
    said = capsys.readouterr().err
    assert said == (
        "paretune: MLFLOW_TRACKING_URI 'localhost:5000' is no address of MLflow: write http://localhost:5000 for a "
        "server, or sqlite:////path/mlflow.db for a file\n"
    )
    assert ui_command("digits", str(tmp_path), port=5000) == 2
    assert capsys.readouterr().err == said
