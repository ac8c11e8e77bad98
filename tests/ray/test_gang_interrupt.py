"""A driver that is interrupted, or killed, takes everything with it; the next one goes on from the checkpoints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from orchestrator.machine.leftovers import OWNER, Owner
from orchestrator.machine.ray_folder import RAY_FOLDER_PREFIX
from tests.support.drive_scripted import TRIALS
from tests.support.places import ROOT
from tests.support.scripted import attempts
from trainables.storage import Storage

DRIVER = ROOT / "tests/support/drive_scripted.py"
PATIENCE_S = 600.0  # for a start, on a machine that is busy with other tests

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]  # by day tests/e2e/test_kill.py interrupts and kills


class Drive:
    def __init__(self, storage: Storage, ray_folder: str | None = None, address: str | None = None) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), storage.uri, *([address] if address else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | ({"RAY_TMPDIR": ray_folder} if ray_folder else {}),
        )

    def first_report(self) -> tuple[str, int]:
        """Reads on until a trial tells its first reading: its id, and the step."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("report"):
                _, trial, step = line.split()
                return trial, int(step)
        raise AssertionError(f"no report in {self.lines}: {self.process.stderr and self.process.stderr.read()}")

    def finish(self) -> int:
        rest, self.errors = self.process.communicate(timeout=PATIENCE_S)
        self.lines += rest.splitlines()
        return self.process.returncode


def gone(processes: Iterable[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Waits until all have ended; returns those that have not. One that only waits to be reaped has ended."""
    until = time.monotonic() + patience_s
    living = list(processes)
    while living and time.monotonic() < until:
        time.sleep(0.2)
        living = [one for one in living if lives(one)]
    return living


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # reaped between the two questions
        return False


@pytest.fixture
def ray_folder() -> Iterator[str]:
    """Short enough for sockets, and of this test alone: any other run would clean up what a killed one leaves."""
    with tempfile.TemporaryDirectory(prefix="", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield folder


def test_interrupted_then_killed_then_done(tmp_path: Path, ray_folder: str) -> None:
    storage = Storage(str(tmp_path))

    interrupted = Drive(storage)
    reported = [interrupted.first_report()]
    family = psutil.Process(interrupted.process.pid).children(recursive=True)
    interrupted.process.send_signal(signal.SIGINT)
    assert interrupted.finish() == 130
    assert any(line.startswith("interrupted stopped with 0 of 3 trials ended") for line in interrupted.lines)
    assert "Traceback" not in interrupted.errors
    assert not gone(family, 90)

    killed = Drive(storage, ray_folder)
    reported.append(killed.first_report())
    family = psutil.Process(killed.process.pid).children(recursive=True)
    workers = {attempts(storage, trial.id)[-1]["pid"] for trial in TRIALS if attempts(storage, trial.id)}
    killed.process.kill()
    killed.finish()
    # What trains is gone at once; Ray's own agents wait a minute for their daemon to come back.
    assert not gone([one for one in family if one.pid in workers], 30)
    assert not gone(family, 180)

    (left,) = Path(ray_folder).glob(f"{RAY_FOLDER_PREFIX}*")
    assert Owner.model_validate_json((left / OWNER).read_text()).pid == killed.process.pid
    last = Drive(storage, ray_folder)
    assert last.finish() == 0, last.errors
    assert not left.exists()  # what the killed one had left, its successor has removed
    assert [line.split()[0] for line in last.lines].count("ended") == len(TRIALS)
    # What a driver has reported is in a checkpoint, and nobody does it again.
    for trial, step in reported:
        resumed = [attempt["resumed_at"] for attempt in attempts(storage, trial)]
        assert resumed == sorted(resumed)
        assert resumed[-1] >= step


@pytest.mark.parametrize("daemon", ["raylet", "gcs_server"])
def test_ray_that_ends_under_a_sweep_is_started_again_and_the_sweep_goes_on(tmp_path: Path, daemon: str) -> None:
    storage = Storage(str(tmp_path))
    drive = Drive(storage)
    trial, step = drive.first_report()
    family = psutil.Process(drive.process.pid).children(recursive=True)
    (victim,) = [one for one in family if one.name() == daemon]
    victim.kill()
    assert drive.finish() == 0, drive.errors
    said = [line for line in drive.errors.splitlines() if line.startswith("paretune: ")]
    assert [line.partition(". ")[2] for line in said] == ["Ray restarts, and trials resume from their checkpoints"]
    assert [line.split()[0] for line in drive.lines].count("ended") == len(TRIALS)
    assert attempts(storage, trial)[-1]["resumed_at"] >= step


def test_a_cluster_whose_head_is_lost_ends_the_sweep_with_a_sentence(tmp_path: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        address = cluster.address
        drive = Drive(Storage(str(tmp_path)), address=address)
        drive.first_report()
        cluster.head_node.kill_gcs_server()
        assert drive.finish() == 1, drive.errors
    finally:
        cluster.shutdown()
    said = f"the head of the Ray cluster, {address}, has not answered for 20 s. Nothing is lost: run the same command"
    assert said in drive.lines[-1] + drive.errors
