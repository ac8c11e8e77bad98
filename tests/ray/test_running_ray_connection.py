"""Starting Ray on a machine that is too busy for it: tried again, and in the end said in a sentence."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from orchestrator.commands import run
from orchestrator.running import ray_connection as local_ray
from orchestrator.running.ray_connection import START_ATTEMPTS, RaySettings, RayStartError, start
from tests.support.places import ROOT

TOO_SLOW = "The current node timed out during startup. This could happen because ..."
NO_GCS = "Failed to start GCS. Last 3 lines of error files: ..."  # its port, free a moment ago, is another's now


def slow_for(monkeypatch: pytest.MonkeyPatch, attempts: int, error: str = TOO_SLOW) -> list[int]:
    """A start that fails so many times; returns the CPUs of each attempt, as they come."""
    asked: list[int] = []

    def attempt(num_cpus: int, *_: object) -> None:
        asked.append(num_cpus)
        if len(asked) <= attempts:
            raise Exception(error)  # Ray's own has no type either

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(local_ray, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(local_ray, "_start_local", attempt)
    return asked


@pytest.mark.parametrize("error", [TOO_SLOW, NO_GCS])
def test_a_slow_start_is_tried_again(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = slow_for(monkeypatch, START_ATTEMPTS - 1, error)
    start(RaySettings(num_cpus=3))
    assert asked == [3] * START_ATTEMPTS


def test_in_the_end_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = slow_for(monkeypatch, START_ATTEMPTS)
    with pytest.raises(RayStartError, match="Run the same command again"):
        start(RaySettings(num_cpus=1))
    assert len(asked) == START_ATTEMPTS


def test_what_else_goes_wrong_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = slow_for(monkeypatch, 1, "no such port")
    with pytest.raises(Exception, match="no such port"):
        start(RaySettings(num_cpus=1))
    assert len(asked) == 1


def test_an_address_where_nobody_listens_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RayStartError, match=f"nothing listens at {address}"):
            start(RaySettings(address=address))
        monkeypatch.setattr(local_ray, "last_cluster_address", lambda: address)  # a cluster that has died
        with pytest.raises(RayStartError, match=f"nothing listens at {address}"):
            start(RaySettings(address="auto"))


def test_an_address_of_ray_client_is_told_what_to_do_instead() -> None:
    with pytest.raises(RayStartError, match="paretune submit"):
        start(RaySettings(address="ray://127.0.0.1:10001"))


def test_the_command_says_so_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise RayStartError("Ray did not start here")

    monkeypatch.setattr(run, "_run", busy)
    sweep = ROOT / "examples/digits.yaml"
    assert run.run_command(sweep, str(tmp_path)) == run.FAILED
    assert capsys.readouterr().err == "paretune: Ray did not start here\n"


def test_a_local_ray_has_a_token_that_is_written_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow_for(monkeypatch, 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    start(RaySettings(num_cpus=1))
    made = os.environ["RAY_AUTH_TOKEN"]
    assert len(made) == 64
    start(RaySettings(num_cpus=1))
    assert os.environ["RAY_AUTH_TOKEN"] == made
    assert list(tmp_path.iterdir()) == []
