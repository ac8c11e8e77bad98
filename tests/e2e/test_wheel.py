"""A wheel, installed into an empty environment, works in any folder: without the clone that it was built from."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.places import ROOT

SENT = ("orchestrator", "paretune", "trainables", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: what a build leaves behind is no part of the clone."""
    source = tmp_path_factory.mktemp("source")
    for name in SENT:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "dist", "."]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = source.glob("dist/*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its `bin`. The libraries are those of this environment, the packages of the project those of the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet", "--no-deps"]
    done = subprocess.run([*pip, "--ignore-installed", str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def _run(command: list[str], environment: Path, folder: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PARETUNE_STORAGE")}
    variables["PATH"] = f"{environment}{os.pathsep}{variables['PATH']}"
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_demo_and_the_types_are_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"{package}/py.typed" for package in ("orchestrator", "paretune", "trainables")} <= set(names)
    assert "orchestrator/demo/digits.yaml" in names


def test_the_demo_is_found_in_any_folder(environment: Path, tmp_path: Path) -> None:
    find = "import orchestrator.commands.run as run; print(run.DEMO)"
    demo = _run([str(environment / "python"), "-c", find], environment, tmp_path).strip()
    assert demo.startswith(str(environment.parent))
    assert "paretune demo" in _run(["paretune", "demo", "--help"], environment, tmp_path)
    assert "total: 23 trials (18 baselines, 5 variants)" in _run(["paretune", "plan", demo], environment, tmp_path)


def test_it_can_be_used_from_python(environment: Path, tmp_path: Path) -> None:
    """And a plan needs no torch, no Ray and no MLflow."""
    code = (
        "import sys, paretune\n"
        f"planned = paretune.plan({SMALL!r})\n"
        "print(len(planned.trials), [name for name in ('torch', 'ray', 'mlflow') if name in sys.modules])"
    )
    assert _run([str(environment / "python"), "-c", code], environment, tmp_path) == "2 []\n"


SMALL = {
    "name": "small",
    "task": "diabetes_mlp",
    "objective": {"metric": "val_mae"},
    "budget": {"epochs": 1},
    "parameters": {"batch_size": {"values": [8, 32]}, "learning_rate": {"values": [0.01]}, "optimizer": "adam"},
}
