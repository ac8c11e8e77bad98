"""A real Ray head and a real MLflow server on loopback, out of the way of whatever else runs on this machine."""

from __future__ import annotations

import ctypes
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests
import yaml

from tests.support.places import ROOT

CLONE = ROOT
START_TIMEOUT_S = 240.0  # of a server on a machine that is busy with other tests
HEAD_ATTEMPTS = 4  # Ray gives its daemons 15 s to start, which a busy machine may exceed, and then ends
BIN = Path(sys.executable).parent
Done = subprocess.CompletedProcess[str]
PARETUNE = [sys.executable, "-m", "orchestrator"]


@dataclass(frozen=True)
class Head:
    """A cluster of one node, its job server at `address`. `environment` holds the token for clients."""

    address: str
    environment: dict[str, str]


@contextmanager
def ray_head(folder: Path, extra_environment: dict[str, str]) -> Iterator[Head]:
    """`ray start --head` with a token of its own; nothing of it is shared with other instances of Ray."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    client = {**clean_environment(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    with ExitStack() as stack:
        for attempts_left in reversed(range(HEAD_ATTEMPTS)):
            try:
                address = stack.enter_context(_attempted_head({**client, **extra_environment}, folder / "head.log"))
                break
            except AssertionError:
                if not attempts_left:
                    raise
        yield Head(address, client)


@contextmanager
def _attempted_head(environment: dict[str, str], log: Path) -> Iterator[str]:
    # Sockets live in Ray's folder, and their paths must be shorter than pytest's folders are.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as temporary:
        names = ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port")
        ports = {name: free_port() for name in names}
        address = f"http://127.0.0.1:{ports['dashboard-port']}"
        command = [
            *(str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats", "--num-cpus=2"),
            *("--labels=zone=here", '--resources={"accelerator_type:L4": 1}'),
            *("--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--temp-dir={temporary}/ray"),
            *("--min-worker-port=0", "--max-worker-port=0"),  # any free one, not from the range that others use
            *(f"--{name}={port}" for name, port in ports.items()),
        ]
        with running(command, {**environment, "RAY_TMPDIR": temporary}, log) as process:
            wait_until(lambda: "Ray runtime started" in log.read_text() and answers(address), process, log)
            yield address


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The server that cluster.yaml starts on a head, at another port and in another home; yields its address."""
    commands = yaml.safe_load((CLONE / "cluster.yaml").read_text())["head_start_ray_commands"]
    (command,) = (command for command in commands if "mlflow server" in command)
    port = free_port()
    text = command[command.index("$HOME/venv/bin/mlflow") :].replace("5000", str(port))
    text = text.replace("$HOME/venv/bin", shlex.quote(str(BIN))).replace("$HOME", shlex.quote(str(folder)))
    (folder / "mlflow").mkdir()
    environment = {**clean_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    address, log = f"http://127.0.0.1:{port}", folder / "mlflow.log"
    with running(shlex.split(text), environment, log) as process:
        wait_until(lambda: answers(f"{address}/health"), process, log)
        yield address


@contextmanager
def running(command: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a process group of its own, all of which is ended afterwards."""
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_the_tests,
        )
    try:
        yield process
    finally:
        process.terminate()  # Ray ends its other processes itself, if asked politely
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _end_with_the_tests() -> None:
    """Ask Linux to end this process when the one that started it is gone, also when the tests were killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def wait_until(is_ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """AssertionError with the log if the process ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{process.args!r} did not get ready:\n{log.read_text()[-5000:]}")
        time.sleep(0.5)


def answers(url: str) -> bool:
    """Whether a web server gives any answer at all."""
    try:
        requests.get(url, timeout=5)
    except requests.RequestException:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """This process's environment, without what would lead a program to another cluster or server."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "PARETUNE_"))}
    return {**kept, "PATH": f"{BIN}:{os.environ['PATH']}"}


def paretune(
    *arguments: str, environment: dict[str, str], cwd: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """The command as a user types it, in a folder that has nothing to do with the clone."""
    return subprocess.run(
        [*PARETUNE, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
    )
