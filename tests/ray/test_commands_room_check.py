"""A sweep that this machine can never run is told so by its plan, and refused before Ray is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.planning.expand import expand
from orchestrator.running import ray_connection as local_ray
from orchestrator.running.executor import run_sweep
from orchestrator.running.observer import Observers
from orchestrator.running.ray_connection import RaySettings, node_to_start
from orchestrator.running.resources import NeverFitsError
from orchestrator.running.tuner import RayExecutor
from tests.support.room_text import text
from tests.support.sweep_text import load_text
from trainables.storage import Storage


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_run_refuses_before_it_starts_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(local_ray, "start", started)
    plan = expand(load_text(tmp_path, text()))
    settings = RaySettings(num_cpus=2)
    with pytest.raises(NeverFitsError, match=r"needs 4096 x \(1 CPU\).*num_workers to at most 2"):
        run_sweep(plan, Storage(str(tmp_path)), Observers(()), RayExecutor(settings))
    here = node_to_start(settings)
    assert here is not None
    assert (here.cpus, here.gpus) == (2, 0)
    assert node_to_start(RaySettings(address="host:6379")) is None
