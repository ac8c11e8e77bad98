"""All private names of Ray that workers use: their purpose, and what breaks without them.

Ray Train's public trainer runs one training and ends; a gang keeps its workers, so it needs internal parts.
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
    """A value from the cluster's key-value store, where the driver puts storage credentials without writing a file."""
    value: bytes | None = _internal_kv_get(key, namespace=namespace)
    return value
