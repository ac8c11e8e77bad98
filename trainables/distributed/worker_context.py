"""The context of a worker: its rank, its device, and the folders that it may use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from trainables.storage import Storage

CPU = torch.device("cpu")


@dataclass(frozen=True)
class WorkerContext:
    """One worker of the group that runs a trial. Rank 0 alone writes files."""

    storage: Storage
    cache: Path  # this node's scratch folder, shared by all trials and workers on it
    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU
    workers_per_node: int = 1  # most workers like this one, of all trials, that may run here at the same time

    @property
    def is_rank_zero(self) -> bool:
        return self.rank == 0

    def wait_for_all(self) -> None:
        """Return when every worker of the group has called this."""
        if self.world_size > 1:  # NCCL needs the device as an argument, gloo refuses it
            dist.barrier(device_ids=[self.device.index] if dist.get_backend() == "nccl" else None)
