"""A thread of the driver that works on while Ray shuts down, as the recorder does, is not the end of the process."""

import subprocess
import sys

import pytest

from tests.support.recorded import quiet_environment

pytestmark = pytest.mark.timeout(600)

SCRIPT = """
import threading
import time

import ray

from orchestrator.running.ray_connection import RaySettings, connected


def leave_garbage(references):
    while not over.is_set():
        for _ in range(200):  # enough for the collector to come by itself
            cycle = [references.pop()] if references else []
            cycle.append(cycle)
        time.sleep(0.001)


over = threading.Event()
with connected(RaySettings(num_cpus=1)):
    references = [ray.put(number) for number in range(40_000)]
    thread = threading.Thread(target=leave_garbage, args=(references,))
    thread.start()
time.sleep(0.2)
over.set()
thread.join()
print("all went well")
"""


def test_what_another_thread_frees_while_ray_shuts_down_does_not_end_the_process():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=quiet_environment(), capture_output=True, text=True, timeout=500
    )
    assert (done.returncode, done.stdout) == (0, "all went well\n"), done.stderr
