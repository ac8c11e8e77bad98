"""`paretune ui`: MLflow's own web pages over the runs of a storage, on this machine only, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from orchestrator.shipper import ENVIRONMENT, default_tracking_uri, sqlite_file
from orchestrator.views import view_url
from trainables.storage import Storage

START_SECONDS = 180  # a server on a busy machine takes a minute


class UiError(RuntimeError):
    """MLflow's pages cannot be shown; the message says why."""


def show(
    storage: Storage, sweep: str | None = None, port: int | None = None, say: Callable[[str], None] = print
) -> None:
    """Say where each sweep's view is (or only `sweep`'s), and serve it until interrupted. Raises UiError."""
    tracking_uri = default_tracking_uri(storage)
    names = [sweep] if sweep else storage.names("sweeps")
    if urllib.parse.urlsplit(tracking_uri).scheme in ("http", "https"):
        _say_views(tracking_uri, names, say)
        return
    file = sqlite_file(tracking_uri)
    if file is not None and not file.exists():
        raise UiError(f"nothing has been recorded in {file.parent}; run a sweep first, or name its --storage")
    signal.signal(signal.SIGTERM, _interrupted)  # else the server would live on
    try:
        say("Starting MLflow; this takes some seconds.")
        with mlflow_server(tracking_uri, port) as (server, process):
            _say_views(server, names, say)
            say("Ctrl-C ends it.")
            process.wait()
    except KeyboardInterrupt:
        return
    raise UiError("the MLflow server has ended by itself")


@contextmanager
def mlflow_server(tracking_uri: str, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server on the loopback interface over a database, as its address and process; ended on leaving.

    One worker and no jobs: the least memory and the shortest start. Raises UiError if it does not come up.
    """
    port = _free_port(port or 0)
    server = f"http://127.0.0.1:{port}"
    options = ["--backend-store-uri", tracking_uri, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {**os.environ, **ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryDirectory(prefix="paretune-mlflow-") as folder:
        log = Path(folder) / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options],
                cwd=folder,  # where it would leave files
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this process, which ends the server
            )
        try:
            _wait_until_healthy(server, process, log)
            yield server, process
        finally:
            _end(process)


def _wait_until_healthy(server: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise UiError(f"the MLflow server ended with code {process.returncode}:\n{last}")
        try:
            with urllib.request.urlopen(f"{server}/health", timeout=5):  # noqa: S310 - our own loopback address
                return
        except OSError:
            time.sleep(0.2)
    raise UiError(f"the MLflow server did not answer within {START_SECONDS} seconds")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The server is a parent with workers; they share a process group of their own."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _say_views(server: str, names: list[str], say: Callable[[str], None]) -> None:
    found = [(name, experiment) for name in names if (experiment := _experiment(server, name))]
    if not found:
        say(f"MLflow: {server} (it has no run of {', '.join(names) or 'any sweep'} yet)")
    for name, experiment in found:
        say(f"{name}: {view_url(server, experiment)}")


def _experiment(server: str, name: str) -> str | None:
    """MLflow's id of a sweep's experiment. Asked without MLflow's client, which takes seconds to import."""
    query = urllib.parse.urlencode({"experiment_name": name})
    address = f"{server.rstrip('/')}/api/2.0/mlflow/experiments/get-by-name?{query}"
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - http(s), checked by the caller
            return str(json.load(answer)["experiment"]["experiment_id"])
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise UiError(f"MLflow at {server} answered {error.code} {error.reason}") from None
    except OSError as error:
        raise UiError(f"MLflow at {server} cannot be reached: {error}") from None


def _free_port(wanted: int) -> int:
    """`wanted`, or any if it is 0. Raises UiError: another server there would seem to be ours."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: what has just ended is no hindrance
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise UiError(f"port {wanted} cannot be used ({error.strerror}); choose another, or none") from None
        return int(probe.getsockname()[1])


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt
