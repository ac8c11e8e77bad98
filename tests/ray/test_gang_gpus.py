"""Gangs on a node with GPUs, as Ray counts and assigns them; that there are none behind it, only torch would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.running.executor import run_sweep
from orchestrator.running.tuner import RayExecutor
from orchestrator.sweep.plan import Trial
from tests.support.one_ray import local_ray, nothing_left
from tests.support.scripted import Told, attempts, scripted, sweep_of
from trainables.results import Status
from trainables.storage import Storage, trial_file

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def gpu_of(storage: Storage, trial: Trial, rank: int = 0) -> str:
    return storage.read(trial_file(trial.id, f"gpu-{rank}")).decode()


@pytest.mark.nightly
def test_each_worker_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "storage"))
    alone = [scripted(seed, sleep_s=0.5) for seed in range(4)]
    pairs = [scripted(seed, num_workers=2, collective=True) for seed in range(2)]
    with local_ray(num_cpus=4, num_gpus=2):
        executor = RayExecutor(runner="tests.support.scripted_gpus:run_trial")
        results = run_sweep(sweep_of(*alone, *pairs), storage, Told(), executor).results
        assert {result.reason or result.status for result in results.values()} == {Status.COMPLETED}
        assert not nothing_left()
    # Four CPUs, but two GPUs: two gangs at one time, each on its own for all of its trials.
    gangs = {attempts(storage, trial.id)[0]["pid"]: gpu_of(storage, trial) for trial in alone}
    assert sorted(gangs.values()) == ["0", "1"]
    assert all(gangs[attempts(storage, trial.id)[0]["pid"]] == gpu_of(storage, trial) for trial in alone)
    for pair in pairs:
        assert {gpu_of(storage, pair, rank) for rank in (0, 1)} == {"0", "1"}
