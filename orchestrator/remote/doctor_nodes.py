"""Checks a cluster: the checks of every node, and whether all nodes write the same storage."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.remote.check import Check
from orchestrator.remote.doctor import check_machine, check_mlflow, check_storage, check_token
from orchestrator.remote.versions import Versions, check_client, check_node, installed_versions
from trainables.error_text import first_line
from trainables.storage import Storage

NODE_TIMEOUT_S = 180.0  # a node's first task starts a process that imports torch


def check_cluster(storage: str | None, client: Versions | None = None) -> Iterator[Check]:
    """The checks of this machine's cluster, from a job or on the head. `client`: versions of the submitting machine."""
    try:
        ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        yield Check("problem", "ray", first_line(error), "start Ray here, or give the address of the job server")
        return
    try:
        if client is not None:
            yield check_client(client, installed_versions())
        yield check_token()
        yield check_mlflow(os.environ.get("MLFLOW_TRACKING_URI"), storage)
        yield from check_nodes(storage)
    finally:
        ray.shutdown()


def check_nodes(storage: str | None) -> Iterator[Check]:
    """The checks of every node, and whether all nodes write the same storage."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node for node in nodes if node["Alive"]]
    dead = len(nodes) - len(alive)
    total = ray.cluster_resources()  # type: ignore[no-untyped-call]
    resources = ", ".join(f"{value:g} {key}" for key, value in sorted(total.items()) if key in ("CPU", "GPU"))
    yield Check("ok", "nodes", f"{len(alive)} alive, {dead} dead; {resources or 'no CPU'}")
    look = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(look_from_node)
    pending = {
        f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})": look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(storage)
        for node in alive
    }
    seen: dict[str, bytes] = {}
    head = installed_versions()
    for address, answer in pending.items():
        try:
            checks, probe, versions = ray.get(answer, timeout=NODE_TIMEOUT_S)
        except ray.exceptions.RayError as error:
            way_out = "check that Paretune is installed there and that the node is healthy"
            yield Check("problem", "node", first_line(error), way_out, address)
            continue
        yield from (replace(check, node=address) for check in checks)
        if (other := check_node(versions, head, address)) is not None:
            yield other
        if probe:
            seen[address] = probe
    if storage is not None and seen:
        yield check_shared(storage, seen)


def look_from_node(storage: str | None) -> tuple[list[Check], bytes, Versions]:
    """Run on a node: its checks, the name of the file that it wrote to the storage (empty: it failed), its versions."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides the GPUs from a task that requests none
    checks, versions = check_machine(), installed_versions()
    if storage is None:
        return checks, b"", versions
    checks.append(check_storage(storage))
    if checks[-1].is_problem:
        return checks, b"", versions
    name = f"doctor-{socket.gethostname()}-{uuid.uuid4().hex}"
    Storage(storage).write(name, name.encode())
    return checks, name.encode(), versions


def check_shared(storage: str, seen: dict[str, bytes]) -> Check:
    """Check that this process sees the files of all nodes: one shared storage, not a separate folder on each node."""
    place = Storage(storage)
    apart = [address for address, name in seen.items() if not place.exists(name.decode())]
    for name in seen.values():
        place.remove(name.decode())
    if apart:
        way_out = "give a path on a shared disk or a URI (s3://..., gs://...)"
        return Check("problem", "storage", f"{place.label} is another place on {', '.join(apart)}", way_out)
    return Check("ok", "storage", f"{place.label} is the same place for all {len(seen)} nodes")
