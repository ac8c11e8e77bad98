"""The benchmark of the data path runs and prints its table; its figures are for quiet machines, not for tests."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "data.py"


def test_the_benchmark_compares_every_method_on_every_data():
    command = [sys.executable, "-W", "error", SCRIPT, "--rounds", "1", "--seconds", "0.01", "--batch-sizes", "64"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env={"COLUMNS": "120"}).stdout
    for word in ("digits", "stdlib", "images", "paretune", "index", "loader 0", "loader 2"):
        assert word in printed
