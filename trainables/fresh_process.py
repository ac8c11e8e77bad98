"""Starts `trainables.measure` in a process of its own, and brings back its figures or a sentence saying why not.

A process of its own has no other models in memory, the asked number of threads from its start, and a compiler without
a history. The compiler's disk cache is shared by all of them on a node, so a parent is compiled for its first variant
and found there by the others.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from trainables.config import Measure, TaskConfig
from trainables.measure import Failure, Measurement, Request
from trainables.results import Estimate

TIMEOUT_SECONDS = 1800.0


class MeasureError(RuntimeError):
    """The measuring process ended without figures. `details` is the end of what it wrote to its standard error."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(reason)
        self.details = details


def measure_in_fresh_process(request: Request, timeout_seconds: float = TIMEOUT_SECONDS) -> Measurement:
    """Measure, in a new process that ends with this one. Raises MeasureError."""
    cache = Path(request.cache)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        request_file, response_file, log_file = (Path(folder) / name for name in ("request", "response", "log"))
        request_file.write_text(request.model_dump_json())
        command = [sys.executable, "-m", "trainables.measure", str(request_file), str(response_file)]
        with open(log_file, "wb") as log:  # a file, not a pipe: a grandchild that lives on cannot keep it open for us
            try:
                code = subprocess.run(
                    command,
                    env=_environment(request),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=timeout_seconds,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired as error:
                details = _tail(log_file)
                raise MeasureError(
                    f"measuring took longer than {timeout_seconds:g} s and was ended", details
                ) from error
        if code != 0:
            raise MeasureError(_reason(code, response_file), _tail(log_file))
        return Measurement.model_validate_json(response_file.read_text())


def evaluate_artifact(
    model: Path,
    task: TaskConfig,
    cache: Path,
    *,
    parent: Path | None = None,
    measure: Measure | None = None,
) -> dict[str, Estimate]:
    """`test_<m>` of an exported model on the test data, and with a parent `test_<m>_change`. Raises MeasureError.

    To be called once, for what is recommended: whoever chooses by the test data has none left to judge by.
    """
    request = Request(
        task=task,
        model=str(model),
        parent=None if parent is None else str(parent),
        measure=measure or Measure(),
        split="test",
        latency=False,
        cache=str(cache),
    )
    found = measure_in_fresh_process(request).metrics
    return {name: estimate for name, estimate in found.items() if name.startswith("test_")}


def _environment(request: Request) -> dict[str, str]:
    threads = str(request.measure.threads)
    return os.environ | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),  # finds the user's module too
        "TORCHINDUCTOR_CACHE_DIR": str(Path(request.cache) / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # a pool of helpers takes longer to start than it saves on small models
    }


def _tail(log: Path, size: int = 4000) -> str:
    return log.read_bytes()[-size:].decode(errors="replace")


def _reason(code: int, response: Path) -> str:
    if response.exists():
        return f"measuring failed: {Failure.model_validate_json(response.read_text()).error}"
    if code < 0:
        name = signal.Signals(-code).name
        return f"the measuring process was ended by {name}{'; out of memory?' if name == 'SIGKILL' else ''}"
    return f"the measuring process ended with exit code {code} and no answer"
