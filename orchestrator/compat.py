"""Every name that is private to Ray or MLflow and used by the driver: what for, and what breaks where it is gone.

A test holds each to what it is used for. Each is imported when it is used: a plan needs neither library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

# -- Ray --------------------------------------------------------------------------------------------------------------


def show_worker_logs(shown: bool) -> None:
    """What Ray's daemons print of workers that died; a trial's result says it already."""
    import ray._private.worker

    ray._private.worker._worker_logs_enabled = shown


@contextmanager
def signals_left_alone() -> Iterator[None]:
    """In the block, ray.init installs no handlers. Else it takes SIGTERM: one handler ends Python with exit code 15,
    one in C++ prints its frames and aborts, and neither leaves a sweep the time for a farewell.
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
    """In the block, ray.init starts daemons that a signal to the driver's group does not reach, for one machine only.

    What a terminal or `timeout` sends to the whole group is for the driver to heed: without its Ray it could say no
    farewell. Ray itself does the same on Windows; the daemons end with the driver all the same.
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
    """What a Ray started here would have: `num_cpus`, `num_gpus`, `resources`, `labels`, known before it is started."""
    from ray._private.resource_and_label_spec import ResourceAndLabelSpec

    return ResourceAndLabelSpec(num_cpus=num_cpus).resolve(is_head=True, node_ip_address=address)


def cpus_of_the_container() -> float:
    """A container's quota of processor time, which os.cpu_count does not know."""
    from ray._private.utils import get_num_cpus

    return float(get_num_cpus(True))


def forget_token() -> None:
    """Ray keeps the token that it found, or that it found none; one that is there since would be overlooked."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    AuthenticationTokenLoader.instance().reset_cache()


def last_cluster_address() -> str:
    """Where `ray start` left word of a cluster on this machine, which may have died since; "" if nowhere."""
    from ray._private.services import canonicalize_bootstrap_address

    return canonicalize_bootstrap_address("auto") or ""


def own_node() -> Any:
    """The daemons that this process has started or joined; None before. Ray tells nobody that one of them died."""
    import ray._private.worker

    return ray._private.worker._global_node


def placement_groups() -> list[Any]:
    """Every placement group of the cluster. The public table does not say who created one, so not whose is orphaned."""
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined] # made by protobuf

    return [
        PlacementGroupTableData.FromString(group)
        for group in state._connect_and_get_accessor().get_placement_group_table()
    ]


def is_removed(group: Any) -> bool:
    """Whether a placement group of `placement_groups` is gone, and only listed still."""
    return bool(group.state == type(group).REMOVED)


def put_value(key: str, value: str, namespace: str) -> None:
    """Into the cluster's key-value store, where workers find the storage's credentials, which are written nowhere."""
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(key, value, namespace=namespace)


def delete_value(key: str, namespace: str) -> None:
    from ray.experimental.internal_kv import _internal_kv_del

    _internal_kv_del(key, namespace=namespace)


# -- MLflow -----------------------------------------------------------------------------------------------------------


def ask_mlflow(tracking_uri: str, path: str, verb: str, **options: Any) -> Any:
    """A request as MLflow makes its own: with its credentials, its certificates and its extensions."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    ask: Any = http_request
    credentials: Any = get_default_host_creds
    return ask(credentials(tracking_uri.rstrip("/")), path, verb, **options)


def mlflow_migrations() -> Path:
    """Where the installed MLflow has the versions of its database: by them an older one, and a newer one, is known."""
    import mlflow.store.db_migrations

    return Path(str(mlflow.store.db_migrations.__file__)).parent
