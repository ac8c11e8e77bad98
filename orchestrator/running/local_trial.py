"""Runs one trial on this machine, without Ray: one process per worker; they end together with the starting process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from trainables.config.trial import ProbeConfig, trial_id
from trainables.errors import ParetuneError
from trainables.results import Report, TrialResult
from trainables.worker.local_worker import LocalWorker, WorkerLine


class LocalTrialError(ParetuneError, RuntimeError):
    """The workers ended without a result; the message is the end of their output."""


def run_locally(
    config: ProbeConfig, search_path: Sequence[str], cache: Path, threads: int
) -> Generator[Report | TrialResult, None, None]:
    """Yield the first worker's evaluations as they arrive, then the result. Raises LocalTrialError."""
    path = os.pathsep.join([*search_path, *(entry or os.getcwd() for entry in sys.path)])
    environment = os.environ | {"PYTHONPATH": path}
    with tempfile.TemporaryDirectory(prefix="paretune-probe-") as folder:
        logs = [Path(folder) / f"log{rank}" for rank in range(config.num_workers)]
        processes: list[subprocess.Popen[str]] = []
        try:
            for rank, log in enumerate(logs):
                processes.append(_start(config, rank, Path(folder), log, cache, threads, environment))
            yield from _listen(processes, logs)
        finally:
            for process in processes:
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()


def _start(
    config: ProbeConfig, rank: int, folder: Path, log: Path, cache: Path, threads: int, environment: dict[str, str]
) -> subprocess.Popen[str]:
    worker = LocalWorker(
        trial=trial_id(config),
        config=config,
        rank=rank,
        num_workers=config.num_workers,
        threads=threads,
        storage=str(folder / "storage"),
        cache=str(cache),
        meet=str(folder / "meet"),
    )
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "trainables.worker.local_worker"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
    if process.stdin is not None:
        process.stdin.write(worker.model_dump_json())
        process.stdin.close()
    return process


def _listen(processes: Sequence[subprocess.Popen[str]], logs: Sequence[Path]) -> Iterator[Report | TrialResult]:
    ended = threading.Event()
    threading.Thread(target=_end_together, args=(processes, ended), daemon=True).start()
    try:
        for text in processes[0].stdout or ():
            if not text.startswith("{"):
                continue  # output of the task's own module
            line = WorkerLine.model_validate_json(text)
            if line.report is not None:
                yield line.report
            if line.result is not None:
                yield line.result
                return
    finally:
        ended.set()
    for process in processes:
        process.wait()
    failed = next((log for process, log in zip(processes, logs, strict=True) if process.returncode > 0), logs[0])
    lines = failed.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise LocalTrialError("\n".join(lines[-20:]) or "a worker ended without any output")


def _end_together(processes: Sequence[subprocess.Popen[str]], ended: threading.Event) -> None:
    """End all workers once one has failed, as the others would wait for it."""
    while not ended.wait(0.5):
        if any(process.poll() not in (None, 0) for process in processes):
            for process in processes:
                process.terminate()
            return
