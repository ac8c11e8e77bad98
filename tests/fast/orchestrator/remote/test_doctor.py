"""What `doctor` finds on machines that have something wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.remote import doctor
from orchestrator.remote.check import Check
from tests.support.places import ROOT


def test_a_check_is_one_line() -> None:
    assert str(Check("ok", "python", "3.11.7")) == "ok       python      3.11.7"
    assert str(Check("problem", "disk", "full", "make room", "node-1")).endswith("node-1: full -> make room")


def test_no_compiler_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.check_compiler().is_problem


def test_a_cluster_installs_what_is_compiled_with() -> None:
    commands = (ROOT / "cluster.yaml").read_text()
    (install,) = (line for line in commands.splitlines() if "install -y" in line and "python3-venv" in line)
    assert {"g++", "python3-dev"} <= set(install.split())


def test_too_little_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert doctor.check_disk(tmp_path / "not" / "there" / "yet").level == "ok"
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 2**80)
    assert doctor.check_disk(tmp_path).is_problem


def test_the_token_is_found_and_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert doctor.check_token().level == "note"

    file = tmp_path / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("hunter2\n")
    file.chmod(0o644)
    readable = doctor.check_token()
    assert (readable.level, readable.way_out) == ("note", f"chmod 600 {file}")
    file.chmod(0o600)
    assert doctor.check_token().level == "ok"

    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "elsewhere"))
    assert doctor.check_token().is_problem
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hunter2")
    assert doctor.check_token().level == "ok"
    assert "hunter2" not in str(readable) + str(doctor.check_token())


def test_storage_is_written_and_left_clean(tmp_path: Path) -> None:
    assert doctor.check_storage(str(tmp_path / "results")).level == "ok"
    assert list((tmp_path / "results").iterdir()) == []
    (tmp_path / "a-file").touch()
    assert doctor.check_storage(str(tmp_path / "a-file" / "results")).is_problem
    assert doctor.check_storage("/proc/results").is_problem  # where not even root may write
    check = doctor.check_storage("nosuchscheme://me:hunter2@x")
    assert check.is_problem
    assert "nosuchscheme://x" in check.finding
