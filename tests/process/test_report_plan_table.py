"""`paretune plan` as a stranger meets it: in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.sweep_text import sweep_text

DIGITS = "examples/digits.yaml"
AUTO = "examples/auto.yaml"
HEAVY = ("torch", "ray", "mlflow", "pandas", "sklearn", "numpy", "scipy", "plotly", "pyarrow")
MAX_SECONDS = 1.0


def paretune(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "orchestrator", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def in_terminal(command: Sequence[str], columns: int) -> str:
    """What a command writes to a terminal of this width."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=follower, stderr=follower)
    os.close(follower)
    chunks = []
    try:
        while chunk := os.read(leader, 1 << 16):
            chunks.append(chunk)
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(leader)
    assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", b"".join(chunks).decode())


@pytest.mark.parametrize(("file", "words"), [(DIGITS, "18 baselines of digits_cnn"), (AUTO, "1 short run")])
def test_planning_imports_nothing_heavy(file: str, words: str) -> None:
    code = f"""
import sys
from orchestrator.cli import app
try:
    app(["plan", {file!r}])
except SystemExit as end:
    assert end.code == 0, end.code
print("heavy:", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "heavy: []"
    assert words in done.stdout


TASK = """
import json, torch, mypkg.models
from trainables.tasks import Task

class Mine(Task):
    train, validation, test = "builtin://digits/train", "builtin://digits/validation", "builtin://digits/test"
    def build_model(self, width=1.0): ...
    def losses(self, outputs, batch): ...

raise SystemExit("a plan must not import this")
"""


def test_a_fix_in_the_users_package_is_new_trials_and_nothing_is_imported_to_see_it(tmp_path: Path) -> None:
    """`cd repository; paretune plan experiments/sweep.yaml`, where the task imports a package of the repository."""
    sections = {"task": "'task:Mine'", "objective": "{metric: val_loss}", "goals": None}
    for name, text in (
        ("experiments/task.py", TASK),
        ("experiments/sweep.yaml", sweep_text(**sections)),
        ("mypkg/models.py", "import numpy"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    code = f"""
import json, sys
from orchestrator.planning.expand import expand
from orchestrator.sweepfile.load import load_sweep
ids = [trial.id for trial in expand(load_sweep("experiments/sweep.yaml")).trials]
print(json.dumps([ids, [name for name in {(*HEAVY, "rich")!r} if name in sys.modules]]))
"""

    def planned() -> list[list[str]]:
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found: list[list[str]] = json.loads(done.stdout)
        return found

    (before, heavy), again = planned(), planned()
    assert (heavy, again) == ([], [before, []])
    (tmp_path / "mypkg" / "models.py").write_text("import numpy\n\nWIDTH = 2  # a fix; a comment alone is none")
    assert not set(planned()[0]) & set(before)


def test_planning_takes_less_than_a_second() -> None:
    """In time on the processor, best of three: planning waits for nothing, and what else runs must not count."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert paretune("plan", DIGITS).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < MAX_SECONDS, seconds


def test_every_trial_is_printed_with_its_numbers() -> None:
    done = paretune("plan", DIGITS)
    assert (done.returncode, done.stderr) == (0, "")
    for column in ("id", "parent", "batch_size = micro x accum x workers", "learning_rate", "rule", "precision"):
        assert column in done.stdout
    for column in ("workers", "seed", "chain", "steps", "examples", "total: "):
        assert column in done.stdout
    assert len(re.findall(r"^[0-9a-f]{12}  ", done.stdout, re.MULTILINE)) == 18
    assert re.search(r"64 = 64 x 1 x 1 +0\.05 +linear from 0\.05 at 64 +float32 +1 +0 +93 +5,952$", done.stdout, re.M)
    assert re.search(r"best of all, after 18 trials .* prune 0\.5 \+ int8 ", done.stdout)


def test_the_same_in_a_terminal_of_any_width() -> None:
    wide = in_terminal([sys.executable, "-m", "orchestrator", "plan", DIGITS], 200)
    narrow = in_terminal([sys.executable, "-m", "orchestrator", "plan", DIGITS], 60)
    ids = re.findall(r"\b[0-9a-f]{12}\b", paretune("plan", DIGITS).stdout)
    assert len(ids) == 18
    for shown in (wide, narrow):
        assert [identity for identity in ids if identity not in shown] == []
        assert "total: 23 trials" in shown


def test_json_is_for_scripts() -> None:
    done = paretune("plan", DIGITS, "--format", "json")
    plan = json.loads(done.stdout)
    assert plan["totals"]["trials"] == len(plan["trials"]) + len(plan["pending"]) == 23
    assert plan["totals"]["examples"] >= sum(trial["examples"] for trial in plan["trials"])
    for trial in plan["trials"]:
        factors = trial["micro_batch_size"] * trial["accumulation_steps"] * trial["num_workers"]
        assert factors == trial["batch_size"]
        assert trial["examples"] == trial["steps"] * trial["batch_size"] <= 6000
        assert (trial["kind"], trial["parent"]) == ("baseline", None)
        assert trial["learning_rate_source"].startswith("linear from 0.05 at 64")
    known = {trial["id"] for trial in plan["trials"]}
    for pending in plan["pending"]:
        assert set(pending["candidates"]) <= known
        assert pending["rule"] == "best of all, after 18 trials"
        assert (pending["precision"], pending["num_workers"]) == ("float32", 1)
        assert pending["batch_size"] is pending["learning_rate"] is None  # those of a parent that is yet to be found


def test_a_batch_size_that_is_to_be_found_is_planned_stage_by_stage() -> None:
    done = paretune("plan", "examples/auto.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("1 probe of memory", "1 short run", "fit ", "beyond the edge", "confirmation", "total: at most"):
        assert words in done.stdout
    plan = json.loads(paretune("plan", "examples/auto.yaml", "--format", "json").stdout)
    assert [trial["stage"] for trial in plan["trials"]] == ["probe", "short run"]
    assert [stage["stage"] for stage in plan["stages"]][-1] == "confirmation"
    assert plan["totals"]["trials"] == sum(stage["trials"] for stage in plan["stages"])
    assert plan["totals"]["examples"] == sum(stage["examples"] for stage in plan["stages"])


def test_a_bad_file_ends_with_two_and_without_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(sweep_text(budgt="{}", evaluations="zero"))
    done = paretune("plan", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert "2 problems" in done.stderr
    assert "did you mean 'budget'" in done.stderr
    assert "evaluations = zero" in done.stderr
    assert "Traceback" not in done.stderr
    as_json = paretune("plan", str(file), "--format", "json")
    assert as_json.returncode == 2
    assert [problem["path"] for problem in json.loads(as_json.stdout)["problems"]] == ["budgt", "evaluations"]


@pytest.mark.parametrize(
    "arguments", [["plan"], ["plan", "nowhere.yaml"], ["plan", DIGITS, "--format", "xml"], ["plam"]]
)
def test_a_bad_command_ends_with_two(arguments: list[str]) -> None:
    done = paretune(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_every_command_has_help_with_an_example() -> None:
    text = paretune("--help").stdout
    commands = re.findall(r"^│ ([a-z]+)  ", text, re.MULTILINE)
    assert {"plan", "run", "compare", "ui", "submit", "doctor"} <= set(commands)
    for command in [[], *([name] for name in commands)]:
        done = paretune(*command, "--help")
        assert done.returncode == 0
        assert f"Example: paretune {' '.join(command)}" in done.stdout


def test_the_version_is_that_of_the_package() -> None:
    assert paretune("--version").stdout == f"paretune {version('paretune')}\n"
