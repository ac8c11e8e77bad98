"""Every name that is private to Ray and used by workers: what for, and what breaks where it is gone.

Ray Train's public trainer starts one training and ends; a gang keeps its workers, and needs the parts below it.
"""

from __future__ import annotations

from ray.experimental.internal_kv import _internal_kv_get
from ray.train.v2._internal.callbacks import DatasetsCallback as DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import (
    PlacementGroupCleanerCallback as PlacementGroupCleanerCallback,
)
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError as WorkerGroupStartupFailedError
from ray.train.v2._internal.execution.callback import WorkerGroupCallback as WorkerGroupCallback
from ray.train.v2._internal.execution.worker_group import WorkerGroupPollStatus as WorkerGroupPollStatus


def value_of(key: str, namespace: str) -> bytes | None:
    """What the driver has put into the cluster's key-value store: storage credentials, which are written nowhere."""
    value: bytes | None = _internal_kv_get(key, namespace=namespace)
    return value
