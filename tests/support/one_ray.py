"""A local Ray, and a check of its leftovers."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import ray
from ray.util.state import list_actors, list_placement_groups

from orchestrator.running.ray_connection import RaySettings, connected
from tests.support.places import ROOT

OF_THE_CLUSTER = "_AutoscalingCoordinatorActor"  # one for all, made by the first trainer, kept by Ray for the next
SEARCH_PATH = [str(ROOT)]


@contextmanager
def local_ray(num_cpus: int = 2, num_gpus: int = 0) -> Iterator[None]:
    """With this many GPUs, whether the machine has some or none: scripted trials exchange tensors in main memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(num_gpus))))
        if num_gpus:
            patch.setenv("RAY_OVERRIDE_RESOURCES", json.dumps({"GPU": num_gpus}))
        with connected(RaySettings(num_cpus=num_cpus, include_dashboard=True), SEARCH_PATH):
            yield


def left_over() -> Counter[str]:
    """Living actors by class, and placement groups that are not removed, as the state API tells."""
    address = ray.get_runtime_context().gcs_address
    actors = list_actors(address=address, filters=[("state", "!=", "DEAD")], limit=10_000)
    groups = list_placement_groups(address=address, filters=[("state", "!=", "REMOVED")], limit=10_000)
    names = [actor.class_name for actor in actors if actor.class_name != OF_THE_CLUSTER]
    return Counter(names + ["placement group"] * len(groups))


def nothing_left(patience_s: float = 60.0) -> Counter[str]:
    """Wait until nothing is left, and return the rest; Ray's own helpers end a moment after their owner."""
    until = time.monotonic() + patience_s
    while (left := left_over()) and time.monotonic() < until:
        time.sleep(0.5)
    return left
