"""The page "Add an axis" does what it says: its edits, made in a copy of the packages, add an axis to everything."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import ROOT

PAGE = ROOT / "docs" / "develop" / "add-an-axis.md"
NAME = "gradient_value_limit"

SWEEP = f"""
name: copy
task: diabetes_mlp
objective: {{metric: val_loss}}
budget: {{steps: 4}}
evaluations: 1
parameters:
  batch_size: 16
  learning_rate: 0.1
  {NAME}: {{values: [null, 0.001]}}
"""

LOOK = """
import json, sys
from pathlib import Path

import trainables
from docs.sweep_file import parameter_keys
from orchestrator.analysis.comparison import compare
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.table import make_table
from orchestrator.diagnostics.problem import SweepError
from orchestrator.planning.expand import expand
from orchestrator.recording.mlflow.run_record import flat_config, run_name
from orchestrator.report.columns import training_columns
from orchestrator.report.plan_table import baseline_table
from orchestrator.sweep.labels import describe, swept_settings
from orchestrator.sweepfile.load import load_sweep
from trainables.distributed.worker_context import WorkerContext
from trainables.results import TrialResult
from trainables.storage import Storage
from trainables.trial import run_trial

folder, name = Path(sys.argv[1]), sys.argv[2]
file = folder / "sweep.yaml"
sweep = load_sweep(file)
plan = expand(sweep)
table = baseline_table(plan)
worker = WorkerContext(Storage(str(folder / "storage")), folder / "cache")
results = {t.id: list(run_trial(t.id, t.config, worker))[-1] for t in plan.trials}
comparison = compare(make_table(stored_plan(plan), results))
settings = next(column for column in training_columns(comparison) if column.title == "settings")
wrong = folder / "wrong.yaml"
wrong.write_text(file.read_text().replace("{values: [null, 0.001]}", "-1"))
try:
    load_sweep(wrong)
except SweepError as error:
    refused = str(error)
print(json.dumps({
    "package": trainables.__file__,
    "values": getattr(sweep.parameters, name),
    "refused": refused,
    "column": [row[table.columns.index(name)] for row in table.rows],
    "labels": [describe(t.config, swept_settings(sweep)) for t in plan.trials],
    "mlflow_names": [run_name(t.config, swept_settings(sweep)) for t in plan.trials],
    "mlflow_params": [flat_config(t.config).get(name) for t in plan.trials],
    "compared": [settings.cell(c) for c in comparison.table.baselines],
    "documented": [line for line in parameter_keys().splitlines() if name in line],
    "losses": [r.metrics["val_loss"].value for r in results.values() if isinstance(r, TrialResult)],
}))
"""


def apply(diff: str, root: Path) -> None:
    """Make the edits of one file: of each hunk, the lines that are there already must stand in it exactly once."""
    head, *hunks = re.split(r"^@@\n", diff, flags=re.MULTILINE)
    file = root / re.search(r"^\+\+\+ b/(.+)$", head, re.MULTILINE)[1]  # type: ignore[index]
    text = file.read_text()
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        after = "".join(line[1:] for line in lines if line[0] != "-")
        assert text.count(before) == 1, f"{PAGE.name} shows lines that are not in {file.name}:\n{before}"
        text = text.replace(before, after)
    file.write_text(text)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a copy of the packages makes of the axis, once the page's edits are made in it."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("trainables", "orchestrator", "paretune", "docs"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    diffs = re.findall(r"^```diff\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    files = [re.search(r"b/(.+)$", diff, re.MULTILINE)[1] for diff in diffs]  # type: ignore[index]
    assert files == ["trainables/config/training.py", "trainables/training/step.py"], "one place, and what it does"
    for diff in diffs:
        apply(diff, folder)
    (folder / "sweep.yaml").write_text(SWEEP)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", LOOK, str(folder), NAME]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["package"] == str(folder / "trainables" / "__init__.py")
    return found


def test_the_axis_is_read_and_its_mistakes_are_told(seen: dict[str, Any]) -> None:
    assert seen["values"] == [None, 0.001]
    assert f"parameters.{NAME} = -1: is out of range; allowed: numbers above 0, up to 1e+12" in seen["refused"]


def test_the_axis_is_planned_and_labelled(seen: dict[str, Any]) -> None:
    words = ["no gradient value limit", "cut at 0.001"]
    assert seen["column"] == words
    assert seen["labels"] == [f"batch 16, rate 0.1, {each}, seed 0" for each in words]
    assert seen["mlflow_names"] == [f"B=16 lr=0.1 {each} seed 0" for each in words]
    assert seen["mlflow_params"] == [None, "0.001"]


def test_the_axis_is_compared(seen: dict[str, Any]) -> None:
    assert sorted(seen["compared"]) == ["cut at 0.001", "no gradient value limit"]


def test_the_axis_is_documented(seen: dict[str, Any]) -> None:
    (line,) = seen["documented"]
    assert line == (
        f"| `{NAME}` | numbers above 0, or `null` | `null` | "
        "an element of the gradient that is larger is cut to it; `null`: none is |"
    )


def test_the_axis_has_its_effect(seen: dict[str, Any]) -> None:
    without, limited = seen["losses"]
    assert limited > without, "steps whose gradients are cut get less far"
