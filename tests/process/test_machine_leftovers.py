"""What a killed driver leaves is removed by the next one; what belongs to anybody who may be alive is not."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from orchestrator.machine.leftovers import clean_up

DRIVER = """
import pathlib, subprocess, sys, time
from orchestrator.machine.leftovers import claim
claim(sys.argv[1])
log = open(pathlib.Path(sys.argv[1], "ray.log"), "w")
daemon = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=log, start_new_session=True)
print(daemon.pid, flush=True)
time.sleep(600)
"""


def made(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / f"ours-{name}"
    folder.mkdir()
    return folder


def test_the_folder_of_a_killed_driver_goes_with_the_processes_that_work_in_it(tmp_path: Path) -> None:
    folder = made(tmp_path, "1")
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    daemon = psutil.Process(int(driver.stdout.readline()))
    try:
        assert clean_up([str(tmp_path)], "ours-") == []  # it lives
        driver.kill()
        driver.communicate()
        assert clean_up([str(tmp_path), str(tmp_path / "missing")], "ours-") == [str(folder)]
        assert not folder.exists()
        assert not gone_in_time(daemon)
    finally:
        for process in (driver, daemon):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def gone_in_time(process: psutil.Process, patience_s: float = 60.0) -> list[psutil.Process]:
    """What is left of it; one that only waits to be reaped has ended."""
    until = time.monotonic() + patience_s
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > until:
                return [process]
            time.sleep(0.05)
    return []
