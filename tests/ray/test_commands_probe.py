"""What the orchestrator makes of probes: the command, the fit, the powers of two, and their place in a sweep."""

from __future__ import annotations

from orchestrator.running.resources import ClusterNode, Need, Shape, need_of
from orchestrator.running.searcher import next_to_admit
from tests.support.training_samples import training
from trainables.config.trial import BaselineConfig, ProbeConfig, TaskConfig

TASK = TaskConfig(name="digits_cnn", data="of the test", code="of the test")


def test_nothing_runs_beside_a_probe_of_cpus_and_on_gpus_it_has_its_own() -> None:
    config = ProbeConfig(task=TASK, num_workers=2)
    cpus = [ClusterNode(8, 0), ClusterNode(8, 0)]
    probe = need_of(config, cpus, 1)
    assert probe.alone
    baseline = need_of(BaselineConfig(task=TASK, training=training()), cpus, 1)
    assert next_to_admit([probe], [baseline], None, cpus) == -1
    assert next_to_admit([baseline], [probe], None, cpus) == -1
    assert next_to_admit([baseline, probe], [], probe.workers, cpus) == 1
    assert need_of(config, [ClusterNode(8, 2)], 1) == Need(Shape(2, 1, 1), Shape(2, 1, 1))
