"""A trial whose micro-batch does not fit is divided anew, and says so."""

from __future__ import annotations

from pathlib import Path

from orchestrator.running.failures import Retry
from orchestrator.running.gang import Assignment, divide
from tests.support.training_samples import training, worker
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.results import TrialResult
from trainables.trial import run_trial
from trainables.worker.ray_worker import WorkerGroupConfig

HUNGRY = TaskConfig(name="tests.support.hungry:Hungry", data="of the test", code="of the test")


def test_a_worker_killed_for_its_memory_is_followed_by_one_that_takes_less(tmp_path: Path) -> None:
    """What the gang writes down is what the next attempt trains with, down to single rows."""
    settings = training(24, steps=12, evaluations=3, learning_rate=0.02)
    task = HUNGRY.model_copy(update={"options": {"most_rows": 24, "after_steps": 0}})
    config = BaselineConfig(task=task, training=settings)
    workers = {"num_workers": 1, "cpus_per_worker": 1, "gpus_per_worker": 0}
    group = WorkerGroupConfig(storage=worker(tmp_path).storage.uri, runner="r", scratch="s", **workers)
    job = Assignment(trial="0123456789ab", config=config, group=group)
    decisions = [divide(job) for _ in range(2)]
    assert all(isinstance(decision, Retry) and not decision.counts for decision in decisions)
    *_, result = run_trial(job.trial, config, worker(tmp_path))
    assert isinstance(result, TrialResult)
    assert result.metrics["micro_batch_size"].value == 6
    assert result.warnings[0].startswith("memory ran out at micro_batch_size 24, so the batch of 24 was divided into 4")
    another = job.model_copy(update={"trial": "another"})
    assert sum(divide(another) is not None for _ in range(6)) == 4  # 12, 6, 3, 1
