"""Runs the fast tests and a short sweep with the lowest and with the newest torch, Ray and MLflow that can be had.

python tests/support/versions.py TESTS [lowest|newest]     prints a line for each, and ends with 1 if one fails

Each has an environment in build/versions. The lowest are the lower bounds of pyproject.toml, the newest what the
registry offers within its ranges. All else is as in constraints.txt.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUDIED = ("torch", "ray", "mlflow")
SWEEP = "examples/diabetes.yaml"
# What each brings along in a version of its own choice.
FREE = re.compile(r"(torch|ray|mlflow|mlflow-skinny|mlflow-tracing|triton|nvidia-.*|cuda-.*)==", re.IGNORECASE)


def constraints(name: str) -> list[str]:
    """Of constraints.txt, all but the studied packages; for the lowest, these at their lower bounds."""
    kept = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not FREE.match(line)]
    return kept if name == "newest" else [*kept, *(f"{package}=={lower_bound(package)}" for package in STUDIED)]


def lower_bound(package: str) -> str:
    """`2.11.0` of `torch>=2.11` in pyproject.toml."""
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (bound,) = [found[1] for text in required if (found := re.match(rf"{package}(?:\[.*\])?>=([\d.]+)", text))]
    return bound if bound.count(".") > 1 else f"{bound}.0"


def tried(name: str, tests: str) -> bool:
    """Make the environment, run the tests and the sweep in it, and print what was run and what became of it."""
    folder = ROOT / "build/versions" / name
    folder.mkdir(parents=True, exist_ok=True)
    python = str(folder / "venv/bin/python")
    (folder / "constraints.txt").write_text("\n".join(constraints(name)) + "\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", str(folder / "constraints.txt")]
    steps = {
        "venv": [sys.executable, "-m", "venv", str(folder / "venv")],
        "install": [*pip, "--upgrade", "--editable", f"{ROOT}[dev]"],
        "tests": [python, "-m", "pytest", "--quiet", tests],
        "sweep": [python, "-m", "orchestrator", "run", SWEEP, "--storage", str(folder / "results"), "--plain"],
    }
    failed = next((step for step, command in steps.items() if not _succeeds(command, folder / f"{step}.log")), None)
    versions = " ".join(f"{package} {_installed(python, package)}" for package in STUDIED)
    print(f"{name}: {versions}: {f'{failed} failed, see {folder / failed}.log' if failed else 'passed'}", flush=True)
    return failed is None


def _succeeds(command: Sequence[str], log: Path) -> bool:
    with open(log, "w") as output:
        return subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False).returncode == 0


def _installed(python: str, package: str) -> str:
    ask = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not installed"


if __name__ == "__main__":
    outcomes = [tried(name, sys.argv[1]) for name in sys.argv[2:] or ("lowest", "newest")]
    sys.exit(not all(outcomes))
