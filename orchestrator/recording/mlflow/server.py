"""MLflow's own server over a database, on this machine only, until it is interrupted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.remote.tracking import MLFLOW_ENVIRONMENT
from trainables.errors import InputError, ParetuneError

HOST = "127.0.0.1"  # results must not be visible from other machines
START_SECONDS = 180  # a server on a busy machine takes a minute


class PortInUseError(InputError):
    """Another process listens on the port."""


class ServerError(ParetuneError, RuntimeError):
    """The server did not start; the message says why."""


@contextmanager
def mlflow_server(tracking_uri: str, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server over a database on the loopback interface: yields its address and process, and ends it afterwards.

    It has one worker and no jobs, for little memory and a short start. Raises PortInUseError and ServerError.
    """
    port = _free_port(port or 0)
    server = f"http://{HOST}:{port}"
    options = ["--backend-store-uri", tracking_uri, "--host", HOST, "--port", str(port), "--workers", "1"]
    own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_LOGGING_LEVEL": "ERROR"}
    environment = {**os.environ, **MLFLOW_ENVIRONMENT, **own}
    with tempfile.TemporaryDirectory(prefix="paretune-mlflow-") as folder:
        log = Path(folder) / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *options],
                cwd=folder,  # it may write files into its current folder
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
            raise ServerError(f"the MLflow server ended with code {process.returncode}:\n{last}")
        try:
            with urllib.request.urlopen(f"{server}/health", timeout=5):  # noqa: S310 - our own loopback address
                return
        except OSError:
            time.sleep(0.2)
    raise ServerError(f"the MLflow server did not answer within {START_SECONDS} seconds")


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


def _free_port(wanted: int) -> int:
    """The port `wanted`, or any free one if it is 0. It is tested first, as another server there would look
    like ours.
    """
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: what has just ended is no hindrance
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise PortInUseError(f"port {wanted} is in use; choose another with --port") from error
        return int(probe.getsockname()[1])
