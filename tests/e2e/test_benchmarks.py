"""Every benchmark runs and prints its table. Its figures are for quiet machines: a goal missed here is no fault.

Each is run at its shortest; what it compares is all there.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.recorded import MLFLOW_WARNINGS
from tests.support.snippets import ROOT

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]


def printed(name: str, *options: str) -> str:
    """What it says. It ends with 0, or with 1 where a goal is missed."""
    warnings = ["-W", "error", *(part for one in MLFLOW_WARNINGS for part in ("-W", one))]
    command = [sys.executable, *warnings, str(ROOT / "benchmarks" / f"{name}.py"), *options]
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def test_padding() -> None:
    text = printed("padding", "--rows", "4000", "--workers", "1")
    assert text.count("met") == 2


def test_data() -> None:
    text = printed("data", "--rounds", "1", "--seconds", "0.01", "--batch-sizes", "64")
    for word in ("digits", "stdlib", "images", "paretune", "index", "loader 0", "loader 2"):
        assert word in text


@pytest.mark.parametrize(("name", "lines"), [("loop", 2), ("noise_scale", 3)])
def test_one_loop_beside_another(name: str, lines: int) -> None:
    rows = [line.split() for line in printed(name, "--task", "diabetes_mlp", "--seconds", "0.5").splitlines()]
    assert len([row for row in rows if row[0] == "diabetes_mlp"]) == lines
    assert rows[-1][-2] == "goal"


def test_memory_probe() -> None:
    text = printed("memory_probe", "--models", "20")
    for way in ("ours", "doubling", "bisection", "halving"):
        assert way in text


def test_trial_overhead() -> None:
    text = printed("trial_overhead", "--trials", "1", "--workers", "1")
    for row in ("bare script", "documented", "documented, polled", "gang", "times cheaper than the documented pattern"):
        assert row in text


def test_seed_verdicts() -> None:
    assert len(printed("seed_verdicts", "--draws", "1").splitlines()) == 1 + 3 * 4 * 7


def test_worker_growth() -> None:
    text = printed("worker_growth", "--trials", "100")
    assert "to trial  100:" in text
    assert "times the CPU at the end; 0 times the worker asked to be renewed" in text


def test_driver() -> None:
    text = printed("driver", "--trials", "60", "--ray-trials", "20", "--stored-trials", "40")
    assert text.count("last over first:") == 4  # three sweeps inline, one on Ray
    assert text.count("MLflow: has all of it") == 4
    for figure in ("compare --format json, CPU:", "report, CPU:", "its page:"):
        assert figure in text


def test_auto_vs_grid() -> None:
    text = printed("auto_vs_grid", "--tasks", "digits_cnn", "--short", "--judge-seeds", "2")
    assert "seconds to the target, auto over grid" in text
