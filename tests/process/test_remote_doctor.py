"""What `doctor` finds on machines that have something wrong with them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from orchestrator.remote import doctor
from tests.support.places import ROOT


class Answer(BaseHTTPRequestHandler):
    """Answers every POST with the server's `status`, and what MLflow says of no experiments."""

    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


class Server(HTTPServer):
    """On loopback, at a free port."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_this_machine_is_fit_to_run_the_tests() -> None:
    assert [str(check) for check in doctor.check_machine() if check.is_problem] == []


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_a_compiler_that_is_missing_or_broken(monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    """torch.compile needs one that works, not one that is there."""
    monkeypatch.setenv("CXX", compiler)
    check = doctor.check_compiler()
    assert check.is_problem
    assert compiler in check.finding
    assert "g++" in check.way_out


def test_no_headers_of_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    for name in ("CPATH", "CPLUS_INCLUDE_PATH"):
        monkeypatch.delenv(name, raising=False)
    check = doctor.check_compiler()
    assert check.is_problem
    assert f"Python.h of {tmp_path}" in check.finding
    assert "\n" not in check.finding
    assert f"python{sysconfig.get_python_version()}-dev" in check.way_out


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (401, "problem"), (403, "problem"), (500, "problem")])
def test_mlflow_answers(server: Server, status: int, level: str) -> None:
    server.status = status
    assert doctor.check_mlflow(server.address).level == level


def test_a_gpu_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert doctor.check_accelerator().level in ("note", "problem")  # the machine of the tests may have one or not
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA L4'\n")
    listing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    check = doctor.check_accelerator()
    assert check.is_problem
    assert "CUDA" in check.way_out


@pytest.mark.parametrize("lacking", ["requests", "packaging", "torch", "pyarrow"])
def test_a_package_that_cannot_be_imported_is_a_finding_and_no_traceback(tmp_path: Path, lacking: str) -> None:
    """In a fresh process, as `paretune doctor` is one: with a broken installation it is what people turn to."""
    (tmp_path / f"{lacking}.py").write_text("raise ImportError('libbroken.so: cannot open shared object file')")
    done = subprocess.run(
        [sys.executable, "-c", "from orchestrator.cli import main; main()", "doctor", "--storage", str(tmp_path / "s")],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "libbroken.so: cannot open shared object file -> pip install -c constraints.txt" in done.stdout
    assert "python" in done.stdout
    assert "compiler" in done.stdout


def test_a_token_that_ray_makes_is_found(tmp_path: Path) -> None:
    home = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"HOME": str(tmp_path)}
    ray = Path(sys.executable).with_name("ray")
    made = subprocess.run([ray, "get-auth-token", "--generate"], env=home, capture_output=True, text=True, check=True)
    look = "from orchestrator.remote.token import auth_token; print(auth_token())"
    found = subprocess.run([sys.executable, "-c", look], env=home, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == made.stdout.strip() != ""


def test_mlflow_is_away_or_not_a_server() -> None:
    gone = doctor.check_mlflow("http://user:hunter2@127.0.0.1:1")
    assert gone.is_problem
    assert "hunter2" not in str(gone)
    assert doctor.check_mlflow(None).level == "ok"
    assert doctor.check_mlflow("sqlite:////tmp/mlflow.db").level == "note"


def test_the_database_of_a_storage_that_another_mlflow_wrote_is_a_problem_with_its_upgrade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert doctor.check_mlflow(None, str(tmp_path)).level == "ok"
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('bd07f7e963c5')")
    connection.close()
    old = doctor.check_mlflow(None, str(tmp_path))
    assert old.level == "problem"
    assert old.finding.endswith("is of an older version of MLflow")
    assert old.way_out == f"copy it, then bring it up to date: mlflow db upgrade sqlite:///{tmp_path}/mlflow.db"
