"""A node of a cluster is killed under a trial, which waits for room and is not blamed; without any, the sweep stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from orchestrator.running import watch
from orchestrator.running.executor import run_sweep
from orchestrator.running.ray_connection import RaySettings
from orchestrator.running.tuner import RayExecutor
from orchestrator.running.watch import NoRoomError
from tests.support.scripted import RUNNER, Told, attempts, scripted, sweep_of
from trainables.results import Report, Status
from trainables.storage import Storage

WAITS = "for 2 x (1 CPU): a node is gone"
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Two nodes of one CPU; what the sweep itself runs is on the first."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": QUICK})
    try:
        cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2")
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


class Fate(Told):
    """Is told of the sweep, and acts at the first reading."""

    def __init__(self, at_first_reading: Callable[[], object]) -> None:
        super().__init__()
        self._at_first_reading = at_first_reading

    def report(self, trial_id: str, report: Report) -> None:
        super().report(trial_id, report)
        if report.step == 1:
            self._at_first_reading()


@pytest.mark.nightly
def test_a_trial_whose_node_is_lost_waits_for_room_and_a_sweep_without_any_stops(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage, trial = Storage(str(tmp_path)), scripted(0, num_workers=2, readings=4, sleep_s=0.5)
    settings = RaySettings(address=cluster.address)

    def lose_the_second() -> None:
        (second,) = cluster.worker_nodes
        cluster.remove_node(second, allow_graceful=False)

    monkeypatch.setattr(watch, "ROOM_S", 5.0)
    alone = Fate(lose_the_second)
    with pytest.raises(NoRoomError, match=r"all remaining trials wait for 2 x \(1 CPU\): a node is gone"):
        run_sweep(sweep_of(trial), storage, alone, RayExecutor(settings, RUNNER))
    assert (trial.id, WAITS) in alone.waiting
    assert ("ended", trial.id) not in alone.events
    assert "paretune: node 127.0.0.2 (1 CPU) is lost" in capsys.readouterr().err

    monkeypatch.setattr(watch, "ROOM_S", 300.0)
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2")
    outcome = run_sweep(sweep_of(trial), storage, Told(), RayExecutor(settings, RUNNER))
    assert outcome.results[trial.id].status is Status.COMPLETED
    assert attempts(storage, trial.id)[-1]["resumed_at"] >= 1
