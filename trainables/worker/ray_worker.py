"""The workers of a gang, run by Ray Train: each is a loop that takes commands from a mailbox and answers there.

The only file that imports ray.train. Importing it does not import torch, because the processes that manage the workers
import it too, and start faster without torch. `trainables.worker.runner` executes the commands.

A worker that cannot continue reports the reason to the mailbox and then raises. Ray Train notices this, ends the other
workers, which may be waiting for it in a collective, and restarts the group.
"""

from __future__ import annotations

import errno
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import ray
import ray.train
import ray.train.collective
from pydantic import Field
from ray.train.backend import Backend, BackendConfig
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from trainables.config.base import FrozenResult
from trainables.data.fingerprint import default_cache
from trainables.errors import ParetuneError
from trainables.process.heartbeat import listening
from trainables.process.malloc import give_back_large_blocks
from trainables.storage import Storage
from trainables.worker.compat import (
    DatasetsCallback,
    PlacementGroupCleanerCallback,
    WorkerGroupCallback,
    WorkerGroupPollStatus,
    WorkerGroupStartupFailedError,
    value_of,
)
from trainables.worker.handover import NAMESPACE, Handover
from trainables.worker.messages import Advance, Raised, Shutdown, Start, decode, encode

if TYPE_CHECKING:
    from trainables.distributed.worker_context import WorkerContext
    from trainables.worker.runner import Runner

RENDEZVOUS_TIMEOUT = timedelta(minutes=30)  # for workers that are starting


class WorkerGroupConfig(FrozenResult):
    """The configuration of a group of equal workers."""

    num_workers: int
    cpus_per_worker: int
    gpus_per_worker: int
    accelerator_type: str | None = None  # required type of the nodes' GPUs, by Ray's name
    node_labels: dict[str, str] = Field(default_factory=dict)  # required labels of the nodes
    storage: str  # address of the sweep's storage, without credentials
    handover: str = ""  # key to the storage's address with credentials, which is never written; "" if there are none
    no_progress_s: float = 3600.0  # seconds without progress after which a trial is ended
    runner: str = "trainables.trial:run_trial"  # the function that runs a trial; tests use another one
    scratch: str  # a folder for Ray Train's own files: its path, or its name in a storage that is not local

    def open_storage(self) -> Storage:
        return _handed_over(self.handover) if self.handover else Storage(self.storage)


def _handed_over(key: str) -> Storage:
    """Raises RuntimeError if the sweep has ended."""
    value = value_of(key, NAMESPACE)
    if value is None:
        raise RuntimeError("the sweep's storage is no longer known: its driver has ended")
    return Handover.model_validate_json(value).take()


class WorkerLostError(ParetuneError, RuntimeError):
    """Raised by a worker that has reported to the mailbox why it cannot continue."""


class _AllDevicesVisible(Backend):
    share_cuda_visible_devices = True  # NCCL needs to see another worker's GPU to access it directly


class _Group(BackendConfig):
    """Replaces Ray's TorchConfig, which would import torch in the controller: workers set up their group themselves."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _AllDevicesVisible


class _Trainer(DataParallelTrainer):
    """No callbacks for Ray Data (an actor, and an import of one second in every process), and no actor that frees the
    reservations of a dead controller, which `orchestrator.running.group` does while it waits for workers.
    """

    def _create_default_callbacks(self) -> list[Any]:
        unwanted = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [each for each in super()._create_default_callbacks() if not isinstance(each, unwanted)]


def make_trainer(config: WorkerGroupConfig, mailbox: Any) -> DataParallelTrainer:
    """A trainer whose `fit` lasts as long as the group, which restarts when a worker is lost."""
    resources: dict[str, float] = {"CPU": config.cpus_per_worker}
    if config.gpus_per_worker:
        resources["GPU"] = config.gpus_per_worker
    callbacks: list[Any] = [Liaison(mailbox)]
    storage = config.open_storage()
    run_config: Any = RunConfig(
        name=f"gang-{uuid.uuid4().hex}",
        storage_path=config.scratch if storage.is_local else storage.path(config.scratch),
        storage_filesystem=None if storage.is_local else storage.filesystem,
        failure_config=FailureConfig(max_failures=-1),
        callbacks=callbacks,
    )
    return _Trainer(
        serve_commands,
        train_loop_config={"mailbox": mailbox, "config": config},
        backend_config=_Group(),
        scaling_config=ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=config.gpus_per_worker > 0,
            resources_per_worker=resources,
            accelerator_type=config.accelerator_type,
            label_selector=config.node_labels or None,
        ),
        run_config=run_config,
    )


class Liaison(WorkerGroupCallback):
    """Runs in Ray Train's controller: lets a group start only if it is requested, and reports its loss.

    Only Ray Train notices a worker that died without a report.
    """

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def before_worker_group_start(self, worker_group_context: Any) -> None:
        """Called before resources are reserved. Raises, and so ends the trainer, once the group has been closed."""
        if not ray.get(self._mailbox.is_wanted.remote()):
            raise RuntimeError("the group was closed")

    @contextmanager
    def on_worker_group_start(self) -> Iterator[None]:
        try:
            yield
        except WorkerGroupStartupFailedError as error:  # Ray Train would retry for ever
            ray.get(self._mailbox.group_lost.remote({0: str(error)}))
            raise

    def after_worker_group_poll_status(self, worker_group_status: WorkerGroupPollStatus) -> None:
        if worker_group_status.errors:
            seen = {rank: str(error) for rank, error in worker_group_status.errors.items()}
            ray.get(self._mailbox.group_lost.remote(seen))


def serve_commands(loop_config: dict[str, Any]) -> None:
    """The loop of one worker, in Ray Train's training thread, until it is told to shut down."""
    give_back_large_blocks()
    from trainables.worker.runner import Runner, can_go_on, load_runner  # here, because they import torch

    config: WorkerGroupConfig = loop_config["config"]
    mailbox = loop_config["mailbox"]
    run_trial = load_runner(config.runner)
    incarnation, worker = _join_group(config)
    runner = Runner(run_trial, worker)
    ray.get(mailbox.join.remote(incarnation, worker.rank, worker.world_size, os.getpid()))
    index = 0
    while True:
        match decode(ray.get(mailbox.command.remote(incarnation, index))):
            case Shutdown():
                runner.let_go(has_arrived=False)
                return
            case Start() | Advance() as command:
                leave = partial(_leave_hanging, mailbox, incarnation, runner, config.no_progress_s)
                with listening(config.no_progress_s, leave):
                    answer = runner.obey(command)
            case other:
                raise TypeError(f"not a command: {other}")
        if isinstance(answer, Raised) and not can_go_on(answer.failure, worker):
            ray.get(mailbox.worker_lost.remote(incarnation, encode(answer.failure)))
            raise WorkerLostError(answer.failure.error)
        ray.get(mailbox.answer.remote(incarnation, index, worker.rank, encode(answer)))
        index += 1


def _leave_hanging(mailbox: Any, incarnation: str, runner: Runner, limit_s: float, where: str) -> None:
    """Report a trial that hangs, and end this process; the group restarts for the next trial."""
    failure = runner.stalled(limit_s, where)
    ray.get(mailbox.worker_lost.remote(incarnation, encode(failure)))
    os._exit(1)


def _join_group(config: WorkerGroupConfig) -> tuple[str, WorkerContext]:
    """Join the other workers. Returns the name of this incarnation of the group, and this worker's context."""
    import ray.train.torch
    import torch
    import torch.distributed as dist

    from trainables.distributed.process_group import join_process_group
    from trainables.distributed.worker_context import WorkerContext

    torch.set_num_threads(config.cpus_per_worker)
    context = ray.train.get_context()
    rank, num_workers = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    listener = _listening(host) if rank == 0 and num_workers > 1 else None
    port = listener.getsockname()[1] if listener else 0
    rendezvous: dict[str, Any] = ray.train.collective.broadcast_from_rank_zero(
        {"incarnation": uuid.uuid4().hex, "host": host, "port": port}
    )
    if num_workers > 1:
        store = dist.TCPStore(  # type: ignore[attr-defined] # public, and exported without its name
            rendezvous["host"],
            rendezvous["port"],
            num_workers,
            is_master=rank == 0,
            timeout=RENDEZVOUS_TIMEOUT,
            wait_for_workers=False,
            master_listen_fd=listener.detach() if listener else None,
        )
        longest = timedelta(seconds=config.no_progress_s) + RENDEZVOUS_TIMEOUT  # a worker that hangs is reported first
        join_process_group(device, rank, num_workers, store=store, timeout=longest)
    storage, together = config.open_storage(), _cpus_of_this_node() // config.cpus_per_worker
    return rendezvous["incarnation"], WorkerContext(
        storage, default_cache(), rank, num_workers, device, max(1, together)
    )


def _listening(host: str) -> socket.socket:
    """The socket where the others reach the first worker; by default, torch would listen on every address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, 0), family=family)
    except OSError as error:
        if (
            error.errno != errno.EADDRNOTAVAIL
        ):  # the node is reached by an address that is another machine's, its gate's
            raise
        return socket.create_server(("", 0), family=family)


def _cpus_of_this_node() -> int:
    """The number of workers like this one that fit on this node, by Ray's resources."""
    here = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return next((int(node["Resources"].get("CPU", 1)) for node in nodes if node["NodeID"] == here), 1)
