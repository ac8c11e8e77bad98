"""Hosts as they are: without a home, with proxies, inside another MLflow run, with long paths."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from orchestrator.machine import environment as host
from orchestrator.recording.mlflow import run_record as flat_run
from orchestrator.remote import doctor_host
from tests.fast.orchestrator.recording.mlflow.test_run_record import BASELINE, log_of

DEAD_PROXY = "http://me:hunter2@127.0.0.1:9"


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No proxies and no MLflow in the environment."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    for name in ("no_proxy", "NO_PROXY"):  # so that what is set here is unset afterwards
        monkeypatch.setenv(name, "")
    return monkeypatch


@pytest.fixture
def homeless(bare: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As in a container with a number for a user: what the system knows of it is a KeyError."""
    import pwd

    def unknown(uid: int) -> object:
        raise KeyError(uid)

    bare.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "USER", "LOGNAME", "PARETUNE_CACHE"):
        bare.setenv(name, "")
        bare.delenv(name)
    return bare


def test_loopback_never_goes_through_a_proxy_by_whatever_library(bare: pytest.MonkeyPatch) -> None:
    import urllib.request

    import requests

    class Ok(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    bare.setenv("http_proxy", DEAD_PROXY)
    bare.setenv("NO_PROXY", "intranet.example")
    with HTTPServer(("127.0.0.1", 0), Ok) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(requests.exceptions.ProxyError):
            requests.get(address, timeout=5)
        host.settle_in()
        assert requests.get(address, timeout=5).status_code == 200
        with urllib.request.urlopen(address, timeout=5) as answer:
            assert answer.status == 200
        server.shutdown()
    host.never_through_a_proxy("10.0.0.7")
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "intranet.example,localhost,127.0.0.1,::1,10.0.0.7"


def test_without_proxies_the_environment_stays_as_it_is(bare: pytest.MonkeyPatch) -> None:
    host.settle_in()
    assert os.environ["no_proxy"] == ""


def test_doctor_names_the_proxies_and_what_is_asked_through_them(bare: pytest.MonkeyPatch) -> None:
    assert list(doctor_host.check_proxies("http://mlflow:5000")) == []
    bare.setenv("http_proxy", DEAD_PROXY)
    ok, note = map(str, doctor_host.check_proxies("http://mlflow:5000"))
    assert "hunter2" not in ok
    assert "MLflow at mlflow is reached through the proxy -> to connect directly, add mlflow to no_proxy" in note
    host.never_through_a_proxy("mlflow")
    assert len(list(doctor_host.check_proxies("http://mlflow:5000"))) == 1


def test_a_user_without_a_home_is_told_what_to_set(homeless: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host.settle_in()
    assert os.environ["USER"] == f"uid-{os.getuid()}"  # torch and Ray ask for a name
    check = doctor_host.check_home()
    assert (check.level, check.way_out) == ("problem", "Set PARETUNE_CACHE, or HOME, to a folder that can be written")
    homeless.setenv("PARETUNE_CACHE", str(tmp_path))
    host.settle_in()
    assert host.home() == tmp_path
    assert doctor_host.check_home().level == "note"
    homeless.setenv("HOME", "/proc")  # where not even root may write
    assert doctor_host.check_home().is_problem or os.access("/proc", os.W_OK)


def test_an_outer_run_of_mlflow_is_named_and_marks_the_runs(bare: pytest.MonkeyPatch) -> None:
    assert host.outer_run_note() == ""
    assert flat_run.OUTER_RUN_TAG not in flat_run.tags("s", "r", log_of(BASELINE))
    bare.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    note = host.outer_run_note()
    assert note.startswith(
        "MLFLOW_EXPERIMENT_NAME of an outer MLflow run: the sweep records runs of its own, in an exp"
    )
    bare.setenv("MLFLOW_RUN_ID", "0123456789abcdef")
    assert flat_run.tags("s", "r", log_of(BASELINE))["paretune.outer_run"] == "0123456789abcdef"
    assert "each with the tag paretune.outer_run" in str(list(doctor_host.check_surroundings())[-1])


def test_doctor_tells_of_a_long_tmpdir(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import tempfile

    long = tmp_path / ("job_scratch_" * 8)
    long.mkdir()
    bare.delenv("RAY_TMPDIR", raising=False)
    bare.setattr(tempfile, "tempdir", str(long))
    check = doctor_host.check_sockets()
    assert check.level == "note"
    assert check.finding.startswith(f"{long} is too long for Ray's")


def test_more_work_than_cores_is_told_with_both() -> None:
    note = host.load_note(24.3, 2)
    assert note.startswith("load 24 on 2 cores: ")
    assert host.load_note(1.9, 2) == ""
    assert (doctor_host.check_load(note).level, doctor_host.check_load("").level) == ("note", "ok")
