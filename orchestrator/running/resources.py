"""The resources of a trial's workers, and which trials fit onto the cluster at the same time. Starts nothing.

    a baseline    num_workers workers of `cpus_per_worker` CPUs, and one GPU each where the cluster has GPUs
    a variant     one such worker, and what it measures on to itself: its GPU, or all CPUs of its node
    a probe       the workers of the training it asks about, with the CPUs that training has; where there are no GPUs
                  nothing runs beside it, since memory and time of its steps are a node's
Where there is one node only, a variant has it to itself because no other trial is admitted beside it; its worker can
then be one that is there already. Where there are several, its worker reserves all CPUs of one, wherever that is.
Gangs themselves take no CPU (they hold a sliver of their node's own resource), so reservations are whole numbers.
A sweep that asks for a kind of GPU, or for labels, has the nodes that have them, and no others count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestrator.compat import is_removed, placement_groups
from orchestrator.sweep.spec import Resources
from trainables.config.trial import AnyTrialConfig, BaselineConfig, ProbeConfig, VariantConfig
from trainables.errors import InputError

MAX_FUTURE_NODES = 1000  # nodes of one type
DEFAULT_MAX_WORKERS = 2  # Ray's default for a cluster file without a limit
NODE_GROUP = "ray.io/node-group"  # Ray's own label: a node's type in the file of `ray up`
NODE_ID = "ray.io/node-id"  # Ray's own label: a new value at each start of a node
HEAD_CONFIG = Path("~/ray_bootstrap_config.yaml")  # `ray up` puts the cluster file there


@dataclass(frozen=True)
class ClusterNode:
    cpus: int
    gpus: int
    accelerators: frozenset[str] = frozenset()  # types of GPU, by Ray's names: L4
    labels: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Shape:
    """The workers of one trial; all have the same resources."""

    num_workers: int
    cpus: int  # per worker
    gpus: int  # per worker

    def __str__(self) -> str:
        each = f"{self.cpus} CPU" + (f" and {self.gpus} GPU" if self.gpus else "")
        return f"{self.num_workers} x ({each})"


@dataclass(frozen=True)
class Need:
    """The resources that a trial's workers reserve with Ray, and those kept free for it from other trials."""

    workers: Shape
    claim: Shape
    alone: bool = False  # no other trial runs at the same time, on any node


class NeverFitsError(InputError):
    """A trial needs more resources than the cluster has, or can ever have."""


def need_of(config: AnyTrialConfig, nodes: Sequence[ClusterNode], cpus_per_worker: int) -> Need:
    """The needs of a trial. "All CPUs" means those of the largest node, so that no other trial fits onto its node."""
    gpus = int(any(node.gpus for node in nodes))
    match config:
        case BaselineConfig(training=training):
            workers = Shape(training.num_workers, cpus_per_worker, gpus)
            return Need(workers, workers)
        case VariantConfig(measure=measure):
            worker = Shape(1, cpus_per_worker, gpus)
            if gpus and measure.device != "cpu":
                return Need(worker, worker)
            all_cpus = max((node.cpus for node in nodes if node.gpus >= gpus), default=cpus_per_worker)
            alone = Shape(1, max(cpus_per_worker, all_cpus), gpus)
            return Need(worker if len(nodes) == 1 else alone, alone)
        case ProbeConfig(num_workers=num_workers):
            workers = Shape(num_workers, cpus_per_worker, gpus)
            return Need(workers, workers, alone=not gpus)


def fits(shapes: Iterable[Shape], nodes: Sequence[ClusterNode]) -> bool:
    """Whether all these workers fit at the same time. First-fit, largest first: it may miss a very tight packing."""
    workers = sorted(((shape.gpus, shape.cpus) for shape in shapes for _ in range(shape.num_workers)), reverse=True)
    free = [[node.gpus, node.cpus] for node in sorted(nodes, key=lambda node: (node.gpus, node.cpus))]
    for gpus, cpus in workers:
        room = next((node for node in free if node[0] >= gpus and node[1] >= cpus), None)
        if room is None:
            return False
        room[0] -= gpus
        room[1] -= cpus
    return True


def side_by_side(shape: Shape, nodes: Sequence[ClusterNode], limit: int = 10_000) -> int:
    """The number of gangs: how many trials of this shape fit at the same time if nothing else runs."""
    per_node = [
        min(node.cpus // shape.cpus, node.gpus // shape.gpus if shape.gpus else limit) for node in nodes if shape.cpus
    ]
    return min(limit, sum(per_node) // shape.num_workers)


def check_fits(wanted: Iterable[tuple[str, Shape]], nodes: Sequence[ClusterNode]) -> None:
    """Raises NeverFitsError for the first trial (id, shape) that would not fit even alone."""
    for trial, shape in wanted:
        if not fits([shape], nodes):
            has = ", ".join(f"{node.cpus} CPU and {node.gpus} GPU" for node in nodes) or "nothing"
            possible = side_by_side(Shape(1, shape.cpus, shape.gpus), nodes)
            way_out = (
                f"set parameters.num_workers to at most {possible}"
                if possible
                else "set resources.cpus_per_worker to no more than a node has"
            )
            raise NeverFitsError(f"trial {trial} needs {shape}, but the cluster's nodes have {has}: {way_out}")


def suits(node: ClusterNode, accelerator_type: str | None, labels: Mapping[str, str]) -> bool:
    """Whether the node has this type of GPU and all these labels."""
    return (accelerator_type is None or accelerator_type in node.accelerators) and node.labels >= set(labels.items())


def eligible(nodes: Sequence[ClusterNode], resources: Resources) -> tuple[ClusterNode, ...]:
    """The nodes that a sweep may use. Raises NeverFitsError if the cluster has none of the required kind."""
    kind, labels = resources.accelerator_type, resources.node_labels
    found = tuple(node for node in nodes if suits(node, kind, labels))
    if found or not nodes:
        return found
    if kind is not None and not any(kind in node.accelerators for node in nodes):
        there = _listed(kind for node in nodes for kind in node.accelerators)
        raise NeverFitsError(
            f"resources.accelerator_type is {kind}, but no node of the cluster has such a GPU; "
            f"the cluster's types are: {there}. Name one of them, or leave it out"
        )
    wanted = _listed(f"{name}: {value}" for name, value in labels.items())
    there = _listed(f"{name}: {value}" for node in nodes for name, value in node.labels if name != NODE_ID)
    beside = "" if kind is None else f" beside a GPU of type {kind}"
    raise NeverFitsError(
        f"resources.node_labels is {{{wanted}}}, but no node of the cluster has all of these{beside}; the cluster's "
        f"labels are: {there}. Start nodes with `ray start --labels`, or leave it out"
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(set(words))) or "none"


def check_precision(trials: Iterable[tuple[str, AnyTrialConfig]], nodes: Sequence[ClusterNode]) -> None:
    """Raises NeverFitsError for the first trial (id, configuration) in float16, if the cluster has no GPU."""
    if any(node.gpus for node in nodes):
        return
    for trial, config in trials:
        precision = config.precision if isinstance(config, ProbeConfig) else config.training.precision
        if precision == "float16":
            raise NeverFitsError(
                f"trial {trial} trains in float16, which needs loss scaling and thus a GPU, but the cluster has none: "
                "set parameters.precision to bfloat16 or float32"
            )


def cluster_nodes() -> tuple[ClusterNode, ...]:
    """The current nodes; for an autoscaling cluster of `ray up`, all nodes that it can have.

    Ray must be connected. The autoscaler's limits are read from a file on the head, where jobs run, since Ray has no
    API for them.
    """
    import ray

    alive: list[dict[str, Any]] = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    present = tuple(node_of(node["Resources"], node["Labels"]) for node in alive)
    growth, kinds = growth_of_head(), {node["Labels"].get(NODE_GROUP) for node in alive}
    if growth is None or kinds.isdisjoint(growth["available_node_types"]):
        return present
    return future_nodes(growth) or present


def growth_of_head() -> dict[str, Any] | None:
    """The cluster file, if this machine is a head that `ray up` started; None on any other machine."""
    try:
        content = yaml.safe_load(HEAD_CONFIG.expanduser().read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("available_node_types"), dict) else None


def future_nodes(growth: Mapping[str, Any]) -> tuple[ClusterNode, ...]:
    """The head, and every node that the autoscaler may start; empty if the file does not give the nodes' resources.

    For AWS and Google Cloud, `ray up` fills in the resources of each type; for others the file may lack them.
    `max_workers` of the whole file limits all types together; types with GPUs come first.
    """
    types: dict[str, dict[str, Any]] = growth["available_node_types"]
    head = growth.get("head_node_type")
    most = growth.get("max_workers", DEFAULT_MAX_WORKERS)
    counts = {name: int(kind.get("max_workers", 0 if name == head else most)) for name, kind in types.items()}
    nodes = {name: _kind_of_node(types[name]) for name, count in counts.items() if count or name == head}
    if None in nodes.values():
        return ()
    workers = [node for name, node in nodes.items() if node for _ in range(min(counts[name], most, MAX_FUTURE_NODES))]
    workers.sort(key=lambda node: (-node.gpus, -node.cpus))
    return (*filter(None, [nodes.get(head or "")]), *workers[:most])


def _kind_of_node(kind: Mapping[str, Any]) -> ClusterNode | None:
    resources = kind.get("resources") or {}
    return node_of(resources, kind.get("labels") or {}) if "CPU" in resources else None


def node_of(resources: Mapping[str, Any], labels: Mapping[str, str]) -> ClusterNode:
    """A node from Ray's resources, in which a type of GPU is a separate resource, `accelerator_type:L4`."""
    kinds = frozenset(name.partition(":")[2] for name in resources if name.startswith("accelerator_type:"))
    has = {key: int(resources.get(key, 0)) for key in ("CPU", "GPU")}
    return ClusterNode(has["CPU"], has["GPU"], kinds, frozenset(labels.items()))


def reservations(*, orphaned: bool = False) -> list[str]:
    """Ids of the placement groups of this job that hold resources or wait for them.

    `orphaned`: only groups whose creating actor is dead. Ray frees these only when the job ends.
    """
    import ray
    from ray import ActorID

    job: str = ray.get_runtime_context().get_job_id()
    return [
        group.placement_group_id.hex()
        for group in placement_groups()
        if not is_removed(group)
        and group.placement_group_id.hex().endswith(job)
        and (not orphaned or (group.creator_actor_dead and not ActorID(group.creator_actor_id).is_nil()))
    ]


def remove_reservation(name: str) -> None:
    """Free the reservations of a group whose owner was killed."""
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))
