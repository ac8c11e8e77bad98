"""The rendezvous of processes that belong to the workers of one trial, for a process group of their own."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist

from trainables.distributed.worker_context import WorkerContext

T = TypeVar("T")


def all_gather_object(own: T, worker: WorkerContext) -> list[T]:
    """The objects of all workers, ordered by rank; the same list on every worker."""
    if worker.world_size == 1:
        return [own]
    if worker.device.type == "cuda":
        torch.cuda.set_device(worker.device)  # objects are sent through this device
    everyone: list[T | None] = [None] * worker.world_size
    dist.all_gather_object(everyone, own)
    return [one for one in everyone if one is not None]


@contextmanager
def rendezvous(worker: WorkerContext) -> Iterator[str]:
    """An `init_method` for torch's `init_process_group`, the same on all workers, valid while all are in the context.

    On one machine it is a file in the cache that its workers share. Across machines it is a port of the first worker's
    machine that was free a moment ago: if another process takes it first, the group fails to start.
    """
    with socket.socket() as listener:
        listener.bind(("", 0))
        own = (socket.gethostname(), _own_address(), listener.getsockname()[1], uuid.uuid4().hex)
        offers = all_gather_object(own, worker)
    host, address, port, name = offers[0]
    if any(other != host for other, *_ in offers):
        yield f"tcp://{address}:{port}"
        return
    file = worker.cache / "meetings" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield f"file://{file}"
    finally:
        file.unlink(missing_ok=True)


def _own_address() -> str:
    """The address by which other machines reach this one; only the route is looked up, no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        try:
            route.connect(("10.255.255.255", 1))
        except OSError:
            return "127.0.0.1"
        address: str = route.getsockname()[0]
        return address
