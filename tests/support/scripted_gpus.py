"""Scripted trials on GPUs that Ray counts but that do not exist: the assignment to workers is real.

What torch would do with them is left out: to turn to a device, and to meet over NCCL. For workers alone: a process that
imports this has no more use for a real GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from tests.support import scripted
from trainables.config.trial import BaselineConfig, VariantConfig
from trainables.distributed.worker_context import WorkerContext
from trainables.results import Report, TrialResult
from trainables.storage import trial_file

_meet = dist.init_process_group


def _meet_over_gloo(backend: str, **rest: Any) -> None:
    assert backend == "nccl"
    _meet("gloo", **rest)


torch.cuda.set_device = lambda device: None  # type: ignore[assignment]
dist.init_process_group = _meet_over_gloo  # type: ignore[assignment]


def run_trial(
    trial: str, config: BaselineConfig | VariantConfig, worker: WorkerContext
) -> Iterator[Report | TrialResult]:
    """Leaves word of the GPU it turned to, of those that Ray let it see."""
    gpu = os.environ["CUDA_VISIBLE_DEVICES"].split(",")[worker.device.index]
    worker.storage.write(trial_file(trial, f"gpu-{worker.rank}"), gpu.encode())
    yield from scripted.run_trial(trial, config, worker)
