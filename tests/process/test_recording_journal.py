"""The journal: told anything twice, killed anywhere, it holds every event once, in order, with its first time."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.recording.journal import Journal
from orchestrator.recording.lease import SweepIsRunningError
from trainables.storage import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


HOLDER = """
import sys, time
from orchestrator.recording.journal import Journal
from trainables.storage import Storage
with Journal(Storage(sys.argv[1]), "s"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_drivers_cannot_run_one_sweep_and_a_killed_one_leaves_no_lock(storage):
    command = [sys.executable, "-c", HOLDER, storage.uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(SweepIsRunningError, match=f"sweep 's' .* is being run by process {holder.pid} on "):
                Journal(storage, "s")
            Journal(storage, "another").close()
        finally:
            holder.kill()
    Journal(storage, "s").close()
