"""Starts or joins Ray, and keeps its output quiet.

A local Ray listens on this machine only, and ends with the driver, even if that is killed. Its workers inherit the
driver's environment, so secrets in the environment reach them without being written to disk.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from orchestrator.compat import (
    cpus_of_the_container,
    daemons_in_their_own_group,
    forget_token,
    last_cluster_address,
    resources_of_this_machine,
    show_worker_logs,
    signals_left_alone,
)
from orchestrator.machine.environment import never_through_a_proxy
from orchestrator.machine.ray_folder import ray_folder
from orchestrator.remote.token import auth_token
from orchestrator.running.resources import ClusterNode, node_of
from orchestrator.running.watch import HeadLostError
from trainables.errors import ParetuneError

_DRIVER_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the only way to have Tune print nothing
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # processes stay in the user's folder, so that relative paths are valid
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the driver handles Ctrl-C; trials resume from their checkpoints
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the result that ends a trial has no objective
    "TUNE_FORCE_TRIAL_CLEANUP_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Tune's own state is never read
    "TUNE_MAX_PENDING_TRIALS_PG": "8",  # gangs that may start at the same time
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000",
}
_CLUSTER_ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # a lost worker is noticed at once; the default is 2 s
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "120",  # a disconnected worker may never answer; the default is 10 min
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "15",  # then it checks whether it is still requested, and waits again
}
_LOCAL_ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # this machine is not preemptible; saves one process per gang
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
LOOPBACK_ADDRESS = "127.0.0.1"
# Without it Ray replaces a loopback address by an external one, and listens there. The variable's name mentions the
# systems where it is the default; it works on every system, and for Ray's daemons and workers as well.
_NO_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
CONNECT_SECONDS = 5.0
START_ATTEMPTS = 5
PAUSE_SECONDS = 5.0  # seconds before another attempt, so that the last one's processes can end
LOCAL_OBJECT_STORE_BYTES = 100 << 20  # for messages only: data is mapped from files


@dataclass(frozen=True)
class RaySettings:
    """`address`: None starts Ray here, or joins the cluster whose job this process is; `auto` or host:port joins."""

    address: str | None = None
    num_cpus: int | None = None  # CPUs of the local Ray; None: those that this process may use
    include_dashboard: bool = False  # for the local Ray; it needs a dozen processes and five seconds to start
    show_worker_output: bool = False


class RayStartError(ParetuneError, RuntimeError):
    """Ray's daemons did not start within Ray's time limit, or no cluster answers at the address."""


@contextlib.contextmanager
def connected(settings: RaySettings, search_path: Sequence[str] = ()) -> Iterator[None]:
    """Ray for the duration of the context. An existing connection is used as it is, and kept open.

    `search_path`: folders with the user's modules, for the workers.
    """
    for name, value in _DRIVER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield
        return
    # The trials' results already report dead workers, so the daemons' messages about them are dropped.
    show_worker_logs(settings.show_worker_output)
    with contextlib.nullcontext() if _address(settings) else ray_folder() as folder:
        with signals_left_alone():
            start(settings, search_path, folder)
        try:
            yield
        except HeadLostError:
            # If Ray has ended already, a regular shutdown would end this process with Ray's own message.
            atexit.unregister(ray.shutdown)
            raise
        except BaseException:
            _shut_down()
            raise
        _shut_down()


def _shut_down() -> None:
    """In the block, the garbage collector is off; it runs before instead.

    While Ray shuts down, freeing one of Ray's references in another thread ends the process at once, with exit code 1
    and no message (`QuickExit` in Ray's core worker). The garbage collector frees them in whichever thread it runs.
    """
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if was_enabled:
            gc.enable()


def starts_its_own(settings: RaySettings) -> bool:
    """Whether `connected` would start a local Ray, which can then be restarted."""
    return not ray.is_initialized() and _address(settings) is None


def _address(settings: RaySettings) -> str | None:
    return settings.address or os.environ.get("RAY_ADDRESS")


def start(settings: RaySettings, search_path: Sequence[str] = (), folder: str | None = None) -> None:
    """Connect to the cluster at the address, or start a local one with its files in `folder`.

    Raises RayStartError if neither works.
    """
    environment = dict(_CLUSTER_ENVIRONMENT)
    if cache := os.environ.get("PARETUNE_CACHE"):  # otherwise each node uses its own folder
        environment["PARETUNE_CACHE"] = cache
    if search_path:
        environment["PYTHONPATH"] = os.pathsep.join([*search_path, *filter(None, [os.environ.get("PYTHONPATH")])])
    quiet: dict[str, Any] = {"log_to_driver": settings.show_worker_output, "logging_level": logging.ERROR}
    if address := _address(settings):
        never_through_a_proxy(address.rpartition(":")[0].strip("[]"))
        _check_listens(last_cluster_address() if address == "auto" else address)
        # Within a job, `submit --env` may set the same variables: these values take precedence.
        os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
        try:
            ray.init(address=address, runtime_env={"env_vars": environment}, **quiet)
        except ConnectionError as error:
            raise RayStartError(f"no Ray cluster answers at {address}: {error}") from error
        return
    cpus = settings.num_cpus or usable_cpus()
    environment |= _LOCAL_ENVIRONMENT
    _provide_token()
    patiently(lambda: _start_local(cpus, environment, settings.include_dashboard, {**quiet, "_temp_dir": folder}))


def _provide_token() -> None:
    """Set a token, which Ray's daemons and workers inherit. Otherwise Ray would write one to a file others can read."""
    if auth_token() is None:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    forget_token()  # this process may have looked for it before


def patiently(start: Callable[[], object]) -> None:
    """Start Ray's daemons on this machine, again if they were not ready in time. Raises RayStartError."""
    for attempt in range(START_ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        try:
            start()
            return
        except Exception as error:  # Ray allows its daemons 30 s, and raises no type of its own
            if not any(words in str(error) for words in ("timed out during startup", "Failed to start GCS")):
                raise
    raise RayStartError(
        f"Ray did not start here: in {START_ATTEMPTS} attempts its daemons were not ready within Ray's 30 s, so this "
        "machine is very busy. Run the same command again when the machine is less busy; nothing is lost"
    )


def node_to_start(settings: RaySettings) -> ClusterNode | None:
    """The resources of the Ray that `connected` would start; None if it joins a cluster or is already connected."""
    if not starts_its_own(settings):
        return None
    found = resources_of_this_machine(settings.num_cpus or usable_cpus(), LOOPBACK_ADDRESS)
    return node_of({"CPU": found.num_cpus, "GPU": found.num_gpus} | (found.resources or {}), found.labels or {})


def usable_cpus() -> int:
    """The CPUs that this process may use, limited by a container's CPU quota, which Ray reads."""
    return min(len(os.sched_getaffinity(0)), max(1, int(cpus_of_the_container())))


def _start_local(num_cpus: int, environment: dict[str, str], include_dashboard: bool, quiet: dict[str, Any]) -> None:
    # The port is chosen in advance, so that helpers of Ray Train do not find another cluster of this machine.
    port = _free_port()
    own = {"RAY_GCS_SERVER_PORT": str(port), _NO_CLUSTERS: "0"}
    os.environ |= own
    try:
        with daemons_in_their_own_group():
            ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=include_dashboard,
                dashboard_host=LOOPBACK_ADDRESS,
                object_store_memory=LOCAL_OBJECT_STORE_BYTES,
                _system_config={"prestart_worker_first_driver": False},  # none would fit our processes' environment
                runtime_env={"env_vars": {**environment, "RAY_ADDRESS": f"{LOOPBACK_ADDRESS}:{port}"}},
                _node_ip_address=LOOPBACK_ADDRESS,
                **quiet,
            )
    finally:
        for name in own:
            del os.environ[name]


def _check_listens(address: str) -> None:
    """Check that a cluster answers at the address, because Ray itself retries for minutes. Raises RayStartError."""
    host, _, port = address.rpartition(":")
    if address.startswith("ray://"):
        raise RayStartError(
            f"{address} is a Ray Client address, which Ray Tune does not support; use the cluster's own, host:6379, on "
            "one of its machines, or send the sweep there with: paretune submit"
        )
    if not host or not port.isdigit():
        return  # auto, and whatever else Ray resolves
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise RayStartError(f"nothing listens at {address} ({error}): is the Ray cluster up?") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK_ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port
