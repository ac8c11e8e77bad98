"""Every command and snippet of the README and the documentation is run as a stranger would type it, in a folder that
holds what a clone holds. The demo's sweep runs once; most of what follows is about its results.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from tests.support.loopback import clean_environment
from tests.support.recorded import without_waiting
from tests.support.snippets import ROOT, commands, python_pages
from trainables.outputs import cpu_name

pytestmark = pytest.mark.timeout(3600)  # whole sweeps, on a machine that is busy with other tests

ENVIRONMENT = clean_environment()

# Commands that need a cloud or set up this very environment, and what holds them instead.
BENCHMARKS = (
    "auto_vs_grid",
    "data",
    "driver",
    "loop",
    "memory_probe",
    "noise_scale",
    "seed_verdicts",
    "trial_overhead",
    "worker_growth",
)
HELD_ELSEWHERE = {
    "pip install paretune": "tests/e2e/test_wheel.py: the built wheel in an empty environment",
    "paretune demo": "tests/e2e/test_wheel.py",
    "python -m pytest tests/contract/test_compression.py -k fine_tune": "is run by `make test`",
    "python -m pytest tests/contract/test_tasks.py -k digits_cnn": "is run by `make test`",
    "ray up cluster.yaml": "tests/ray/test_cluster_yaml.py: Ray's own check of the file",
    **dict.fromkeys(
        (
            "ray dashboard cluster.yaml",
            "ray dashboard cluster.yaml --port 5000 --remote-port 5000",
            "ray down cluster.yaml",
        ),
        "tests/ray/test_cluster_yaml.py: Ray's own parser",
    ),
    "pip install -c constraints.txt '.[aws]'": "what `make setup` does; and boto3: below",
    "ray get-auth-token --generate": "tests/fast/orchestrator/remote/test_doctor.py",
    "ray rsync-down cluster.yaml /srv/paretune/ paretune-results/": "needs a cluster on AWS",
    "paretune doctor --address http://127.0.0.1:8265 --storage /srv/paretune": (
        "tests/e2e/test_cluster.py: of a real head, over its job server"
    ),
    "paretune submit examples/digits.yaml --address http://127.0.0.1:8265 --storage /srv/paretune": (
        "tests/e2e/test_cluster.py: a real head, token, MLflow server and job"
    ),
    **dict.fromkeys(
        ("paretune jobs", "paretune status digits", "paretune logs digits --follow", "paretune stop digits"),
        "tests/e2e/test_cluster.py: of jobs that were submitted to a real head",
    ),
    **dict.fromkeys(
        (f"python benchmarks/{name}.py" for name in BENCHMARKS),
        "tests/e2e/test_benchmarks.py: at their shortest",
    ),
}
PAGES_HELD_ELSEWHERE = {  # their calls are held to the package's signatures by tests/fast/test_docs.py
    "docs/guides/mlflow.md": "serves until Ctrl-C; tests/process/test_ui.py",
    "docs/guides/cluster.md": "needs a cluster; tests/e2e/test_cluster.py",
}
HERE = [command for command in commands() if command not in HELD_ELSEWHERE and not command.startswith("make ")]


def shell(command: str, folder: Path, timeout: float = 3000) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command.split(), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a clone, after `make demo`."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("data", "__pycache__"))
    recipe = shell("make --dry-run --silent demo", ROOT).stdout.splitlines()[-1]
    assert recipe.endswith("paretune demo")
    done = shell("paretune demo", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "demo.txt").write_text(done.stdout)
    assert shell("python examples/make_own_data.py", folder).returncode == 0  # what several pages go on from
    assert without_waiting(done.stderr) == [], "a stranger would wonder"
    return folder


def test_every_command_that_is_held_elsewhere_is_still_shown() -> None:
    assert set(HELD_ELSEWHERE) <= set(commands()), "a command is gone from the pages"
    assert set(PAGES_HELD_ELSEWHERE) <= set(python_pages()), "a page has no Python any more"
    files = re.findall(r"tests/[\w/]+\.py", " ".join((*HELD_ELSEWHERE.values(), *PAGES_HELD_ELSEWHERE.values())))
    assert [file for file in files if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("command", [command for command in commands() if command.startswith("make ")])
def test_what_make_is_told_to_do_is_in_the_makefile(command: str) -> None:
    done = shell(f"{command} --dry-run", ROOT)
    assert done.returncode == 0, done.stderr


def test_what_a_cluster_needs_beside_can_be_installed_as_pinned() -> None:
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    wanted = ["--constraint", str(ROOT / "constraints.txt"), "boto3"]
    done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_demo_ends_with_tables_a_recommendation_and_the_way_to_mlflow(clone: Path) -> None:
    output = " ".join((clone / "demo.txt").read_text().split())  # a long name of a processor is wrapped
    cpu = " ".join(cpu_name().split())
    trained = f"Training on {cpu}: "
    measured = f"Compression, measured on 1 thread of {cpu}"
    if torch.cuda.is_available():  # int8 is for processors, so everything is measured there
        trained = f"Training on {torch.cuda.get_device_name()}: "
    for words in (trained, measured, "Recommended:", "Runner-up", "Test data:", "paretune ui digits"):
        assert words in output


def test_the_recommended_model_is_where_the_demo_says(clone: Path) -> None:
    path = re.search(r"^The model: +(\S+)$", (clone / "demo.txt").read_text(), re.MULTILINE)
    assert path is not None
    assert (clone / path[1]).is_file()


def test_the_demo_measured_what_it_recommends(clone: Path) -> None:
    found = json.loads(shell("paretune compare digits --format json", clone).stdout)
    assert set(found) >= {"sweep", "trials", "pareto", "recommendation"}
    trials = {trial["id"]: trial for trial in found["trials"]}
    assert all(set(trial) >= {"id", "kind", "parent", "status", "params", "metrics"} for trial in trials.values())
    assert all(trial["equal_examples"] for trial in trials.values() if trial["kind"] == "baseline")
    variants = [trial for trial in trials.values() if trial["kind"] == "variant"]
    assert {trial["status"] for trial in variants} <= {"completed", "goal_missed"}
    assert {trial["status"] for trial in trials.values() if trial["kind"] == "baseline"} == {"completed"}
    assert len(variants) == 5
    for trial in variants:
        assert trials[trial["parent"]]["kind"] == "baseline"
        assert trial["metrics"]["latency_p50_ms_batch_1"] > 0
        assert trial["metrics"]["artifact_bytes"] > 0
    recommended = trials[found["recommendation"]["trial"]]
    assert recommended["id"] in found["pareto"]
    parent = trials[recommended["parent"]]
    assert recommended["metrics"]["artifact_bytes"] <= 0.5 * parent["metrics"]["artifact_bytes"]
    assert recommended["metrics"]["val_accuracy"] >= parent["metrics"]["val_accuracy"] - 0.02


def test_running_it_again_runs_nothing(clone: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in clone.glob("paretune-results/trials/*/result.json")}
    done = shell("paretune run examples/digits.yaml", clone)
    assert done.returncode == 0
    assert len(before) == 23
    assert before == {path: path.stat().st_mtime_ns for path in clone.glob("paretune-results/trials/*/result.json")}


AT_NIGHT = (  # minutes each: whole sweeps beside the demo
    "paretune run examples/auto.yaml",
    "docs/guides/batch-size.md",
)


def _marked(names: Iterable[str]) -> list[object]:
    """Commands or pages."""
    return [pytest.param(name, marks=pytest.mark.nightly) if name in AT_NIGHT else name for name in names]


@pytest.mark.parametrize("command", _marked(c for c in HERE if not c.startswith("paretune ui")))
def test_command(command: str, clone: Path) -> None:
    done = shell(command, clone)
    expected = (0, 1) if command == "paretune doctor" else (0,)  # doctor's 1: it found something, which is its work
    assert done.returncode in expected, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout or not command.startswith("paretune")


@pytest.mark.parametrize("page", _marked(page for page in python_pages() if page not in PAGES_HELD_ELSEWHERE))
def test_python_session(page: str, clone: Path) -> None:
    """After the commands above, as a reader has them: the sweeps that a page runs have ended, and are only compared."""
    done = subprocess.run(
        [sys.executable, "-c", python_pages()[page]],
        cwd=clone,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_command_that_shows_pages(clone: Path) -> None:
    assert "paretune ui digits" in HERE
    with subprocess.Popen(
        ["paretune", "ui", "digits"],
        cwd=clone,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    ) as ui:
        try:
            assert ui.stdout is not None
            assert "http://127.0.0.1:" in ui.stdout.readline()
        finally:
            ui.send_signal(signal.SIGINT)
            ui.wait(60)
    assert ui.returncode == 0


@pytest.mark.nightly
@pytest.mark.parametrize("example", ["auto", "diabetes", "stdlib_gpt"])
def test_every_other_example_runs(example: str, clone: Path) -> None:
    done = shell(f"paretune run examples/{example}.yaml", clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Recommended:" in done.stdout


@pytest.mark.nightly
def test_the_fit_of_auto_ends_what_it_has_no_more_questions_for(clone: Path) -> None:
    assert shell("paretune run examples/auto.yaml", clone).returncode == 0  # it has run: there is nothing left to do
    found = json.loads(shell("paretune compare auto --format json", clone).stdout)
    ended = {(trial["stage"], trial["status"]) for trial in found["trials"]}
    assert ("fit", "stopped_early") in ended
    assert ("confirmation", "completed") in ended
    assert ("confirmation", "stopped_early") not in ended
