"""The process group through which the workers of a trial exchange gradients: its one set-up and tear-down."""

from __future__ import annotations

import gc
from datetime import timedelta

import torch
import torch.distributed as dist


def join_process_group(
    device: torch.device,
    rank: int,
    world_size: int,
    *,
    init_method: str | None = None,
    store: dist.Store | None = None,  # type: ignore[name-defined] # public, and exported without its name
    timeout: timedelta | None = None,
) -> None:
    """Join the group of `world_size` workers: through NCCL on CUDA devices, through gloo on CPUs.

    The workers find each other by `init_method` (a `file://` or `tcp://` address) or in a `store` that all of them
    reach. `timeout` is the longest that one of them waits for another; None: torch's own. Raises the errors of
    `torch.distributed.init_process_group`.
    """
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(
        backend, init_method=init_method, store=store, rank=rank, world_size=world_size, timeout=timeout
    )


def leave_process_group() -> None:
    """End the group. Models wrapped in DistributedDataParallel must have been deleted before.

    Remaining reducers are garbage-collected first: otherwise the last one to hold the group would end it while holding
    Python's lock, and hang.
    """
    gc.collect()
    dist.destroy_process_group()
