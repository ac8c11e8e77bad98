"""Runs a module in a fresh process, `python -m MODULE REQUEST.json RESPONSE.json`, and returns its response.

Both ends are here: `in_fresh_process` starts it, `answer` is the child's main function.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trainables.config.base import FrozenResult
from trainables.error_text import first_line
from trainables.errors import ParetuneError
from trainables.process.heartbeat import beat

CHILD_TIMEOUT_SECONDS = 1800.0


class ChildError(ParetuneError, RuntimeError):
    """The process ended without a response. `details` is the end of its standard error."""

    def __init__(self, reason: str, details: str = "", killed: bool = False) -> None:
        super().__init__(reason)
        self.details = details
        self.killed = killed  # whether by SIGKILL, which the system uses when it is out of memory


class ChildFailure(FrozenResult):
    """The response of a failed process."""

    error: str


def in_fresh_process(
    module: str,
    request: str,
    cache: Path,
    environment: Mapping[str, str],
    timeout_seconds: float = CHILD_TIMEOUT_SECONDS,
    doing: str = "measuring",
) -> str:
    """The response to `request`, both JSON, from a new process that ends when this one does. Raises ChildError.

    `environment` is added to this process's own; the child can import the same modules as this process.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        request_file, response_file, log_file = (Path(folder) / name for name in ("request", "response", "log"))
        request_file.write_text(request, encoding="utf-8")
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        with open(log_file, "wb") as log:  # a file, not a pipe: a grandchild that lives on cannot keep it open for us
            try:
                code = subprocess.run(
                    [sys.executable, "-m", module, str(request_file), str(response_file)],
                    env=os.environ | {"PYTHONPATH": path, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=timeout_seconds,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired as error:
                reason = f"{doing} took longer than {timeout_seconds:g} s and was ended"
                raise ChildError(reason, _tail(log_file)) from error
        if code != 0:
            reason = _reason(code, response_file, doing)
            raise ChildError(reason, _tail(log_file), killed=code == -signal.SIGKILL)
        beat()
        return response_file.read_text(encoding="utf-8")


def _tail(log: Path, size: int = 4000) -> str:
    return log.read_bytes()[-size:].decode(errors="replace")


def _reason(code: int, response: Path, doing: str) -> str:
    if response.exists():
        return f"{doing} failed: {ChildFailure.model_validate_json(response.read_text(encoding='utf-8')).error}"
    if code < 0:
        name = signal.Signals(-code).name
        return f"the {doing} process was ended by {name}{'; out of memory?' if name == 'SIGKILL' else ''}"
    return f"the {doing} process ended with exit code {code} and no answer"


# -- in the child -----------------------------------------------------------------------------------------------------


def answer(respond: Callable[[str], str], arguments: Sequence[str]) -> None:
    """Read the request, write the response; an exception is reported in the response, and raised."""
    request, response = map(Path, arguments)
    end_with_parent()
    atexit.register(gc.freeze)  # the parent waits: for seconds, Python's end would search all objects of the libraries
    try:
        text = respond(request.read_text(encoding="utf-8"))
    except Exception as error:
        response.write_text(ChildFailure(error=first_line(error)).model_dump_json(), encoding="utf-8")
        raise
    response.write_text(text, encoding="utf-8")


def end_with_parent() -> None:
    """End this process soon after the process that started it has ended, for whatever reason."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
