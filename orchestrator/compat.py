"""All private names of Ray and MLflow that the driver uses: their purpose, and what breaks without them.

A test checks each for its purpose. Each is imported only when it is used, because a plan needs neither library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

# -- Ray --------------------------------------------------------------------------------------------------------------


def show_worker_logs(shown: bool) -> None:
    """The lines that Ray's daemons print about dead workers; a trial's result already says the same."""
    import ray._private.worker

    ray._private.worker._worker_logs_enabled = shown


@contextmanager
def signals_left_alone() -> Iterator[None]:
    """In the block, ray.init installs no signal handlers. Its handlers for SIGTERM would end the process (one with exit
    code 15, one in C++ by printing its frames and aborting) before the sweep can shut down in order.
    """
    from ray._private import ray_constants, utils

    constants: Any = ray_constants
    ours: Any = utils
    aborts, installs = constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER, ours.set_sigterm_handler
    constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER, ours.set_sigterm_handler = True, lambda handler: None
    try:
        yield
    finally:
        constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER, ours.set_sigterm_handler = aborts, installs


@contextmanager
def daemons_in_their_own_group() -> Iterator[None]:
    """In the block, ray.init starts daemons that a signal to the driver's process group does not reach.

    A terminal or `timeout` sends its signal to the whole group. Only the driver must act on it: without Ray it could
    not shut down in order. For one machine only. Ray itself does the same on Windows; the daemons still end with the
    driver.
    """
    from ray._private import ray_constants, services

    constants: Any = ray_constants
    starting: Any = services
    with_clusters, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    starts, starting.ConsolePopen = starting.ConsolePopen, partial(starting.ConsolePopen, process_group=0)
    try:
        yield
    finally:
        starting.ConsolePopen = starts
        constants.ENABLE_RAY_CLUSTER = with_clusters


def resources_of_this_machine(num_cpus: int, address: str) -> Any:
    """The resources that a Ray started here would have (`num_cpus`, `num_gpus`, `resources`, `labels`), in advance."""
    from ray._private.resource_and_label_spec import ResourceAndLabelSpec

    return ResourceAndLabelSpec(num_cpus=num_cpus).resolve(is_head=True, node_ip_address=address)


def cpus_of_the_container() -> float:
    """A container's CPU quota, which os.cpu_count ignores."""
    from ray._private.utils import get_num_cpus

    return float(get_num_cpus(True))


def forget_token() -> None:
    """Clear Ray's cached token (or its cached absence), so that a token added since is found."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    AuthenticationTokenLoader.instance().reset_cache()


def last_cluster_address() -> str:
    """The cluster address that `ray start` recorded on this machine; it may be dead by now. Empty if there is none."""
    from ray._private.services import canonicalize_bootstrap_address

    return canonicalize_bootstrap_address("auto") or ""


def own_node() -> Any:
    """The daemons that this process has started or joined; None before. Ray does not report that one of them died."""
    import ray._private.worker

    return ray._private.worker._global_node


def placement_groups() -> list[Any]:
    """All placement groups of the cluster with their creators, to find orphans. Ray's public table lacks creators."""
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined] # made by protobuf

    return [
        PlacementGroupTableData.FromString(group)
        for group in state._connect_and_get_accessor().get_placement_group_table()
    ]


def is_removed(group: Any) -> bool:
    """Whether a placement group of `placement_groups` has been removed and is only still listed."""
    return bool(group.state == type(group).REMOVED)


def put_value(key: str, value: str, namespace: str) -> None:
    """Write to the cluster's key-value store. It hands the storage's credentials to workers without writing a file."""
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(key, value, namespace=namespace)


def delete_value(key: str, namespace: str) -> None:
    from ray.experimental.internal_kv import _internal_kv_del

    _internal_kv_del(key, namespace=namespace)


# -- MLflow -----------------------------------------------------------------------------------------------------------


def ask_mlflow(tracking_uri: str, path: str, verb: str, **options: Any) -> Any:
    """A request with the credentials, certificates and extensions that MLflow uses itself."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    ask: Any = http_request
    credentials: Any = get_default_host_creds
    return ask(credentials(tracking_uri.rstrip("/")), path, verb, **options)


def mlflow_migrations() -> Path:
    """The folder of the installed MLflow's database migrations; they tell whether a database is older or newer."""
    import mlflow.store.db_migrations

    return Path(str(mlflow.store.db_migrations.__file__)).parent
