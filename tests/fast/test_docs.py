"""What the documentation shows is true: its sweep files are read, its figures are those of the recorded benchmarks."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import paretune
from docs.generated import PARTS, filled, names_in
from orchestrator.cli import app
from orchestrator.sweep.metrics import known_metrics
from orchestrator.sweep.spec import Parameters, Sweep
from orchestrator.sweepfile.load import load_sweep
from tests.support.snippets import PAGES, README, ROOT, Snippet, python_pages, snippets
from trainables.config.trial import MeasureSettings

ARCHITECTURE = ROOT / "ARCHITECTURE.md"
WHOLE: dict[str, Any] = {
    "name": "snippet",
    "task": "digits_cnn",
    "objective": {"metric": "val_accuracy"},
    "budget": {"examples": 6000},
    "parameters": {"batch_size": 16, "learning_rate": 0.05},
}


@pytest.mark.parametrize("snippet", [s for s in snippets("yaml") if s.file is None], ids=str)
def test_every_sweep_file_and_every_part_of_one_is_read(snippet: Snippet, tmp_path: Path) -> None:
    part = yaml.safe_load(snippet.text)
    parameters = WHOLE["parameters"] | part.get("parameters", {})
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(WHOLE | part | {"parameters": parameters}))
    assert load_sweep(file).name == part.get("name", "snippet")


def test_every_example_that_a_page_shows_is_one_that_a_test_runs() -> None:
    shown = {s.file for language in ("yaml", "python") for s in snippets(language) if s.file}
    assert shown <= set((ROOT / "examples").iterdir())
    assert {ROOT / "examples" / name for name in ("digits.yaml", "auto.yaml", "own_task.yaml", "own_task.py")} <= shown


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_the_architecture_is_short_and_names_files_that_exist() -> None:
    text = ARCHITECTURE.read_text()
    assert len(text.splitlines()) <= 200
    named = re.findall(r"\b((?:trainables|orchestrator|paretune|docs|tests|benchmarks)/[\w/.-]*\w)", text)
    missing = sorted({name for name in named if not (ROOT / name).exists()})
    assert not missing, "ARCHITECTURE.md names files that are gone"


@pytest.mark.parametrize("package", ["orchestrator", "trainables"])
def test_the_picture_of_the_rooms_has_the_floors_that_are_held(package: str) -> None:
    (contract,) = [
        contract
        for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == [package]
    ]
    (picture,) = re.findall(
        rf"(?m)^{package}\n((?:  .*\n)+)", "\n".join(re.findall(r"(?s)```text\n(.*?)```", ARCHITECTURE.read_text()))
    )
    drawn = [set(re.findall(r"\w+", line[:49].replace(".py", ""))) for line in picture.splitlines()]
    held = [set(floor.split(" : ")) for floor in contract["layers"] if floor != "__main__"]
    assert drawn == held


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "log.md"], ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    folders = "trainables|orchestrator|paretune|docs|tests|benchmarks|examples"
    named = re.findall(rf"`((?:{folders})/[\w/.-]*\w)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_demo_in_the_readme_is_as_it_was_recorded() -> None:
    (shown,) = re.findall(r"<!-- demo -->\n```text\n(.*?)```\n<!-- /demo -->", README.read_text(), re.DOTALL)
    recorded = (ROOT / "docs/develop/benchmarks/demo.md").read_text().splitlines()
    made_up = [line for line in shown.splitlines() if line not in (*recorded, "[...]")]
    assert not made_up, "record it anew with: python benchmarks/demo.py --record"
    assert len(shown.splitlines()) <= 15


def calls(page: str) -> list[ast.Call]:
    """The calls of `paretune.NAME(...)` in the Python of a page."""
    nodes = [node for node in ast.walk(ast.parse(python_pages()[page])) if isinstance(node, ast.Call)]
    return [node for node in nodes if re.fullmatch(r"paretune\.\w+", ast.unparse(node.func))]


@pytest.mark.parametrize("page", python_pages())
def test_every_call_on_a_page_is_one_that_the_package_takes(page: str) -> None:
    for call in calls(page):
        function = getattr(paretune, ast.unparse(call.func).removeprefix("paretune."))
        inspect.signature(function).bind(*call.args, **{str(each.arg): each.value for each in call.keywords})


def reference(page: str) -> str:
    return filled((ROOT / "docs" / "reference" / page).read_text())


def test_every_generated_part_is_shown_on_a_page() -> None:
    assert {name for page in PAGES for name in names_in(page.read_text())} == set(PARTS)


def test_the_reference_has_every_key_of_a_sweep_file() -> None:
    text = reference("sweep-file.md")
    keys = {*Sweep.model_fields, *Parameters.model_fields} - {"facts"}
    assert {key for key in keys if f"`{key}" not in text} == set()


def test_the_reference_has_every_command_and_every_option() -> None:
    text = reference("command-line.md")
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        assert f"## `paretune {command.name}`" in text
        options = [name for each in command.params for name in each.opts if name.startswith("--")]
        assert {name for name in options if name not in text} <= {"--help"}


def test_the_reference_has_every_metric() -> None:
    text = reference("metrics.md")
    assert {name for name in known_metrics({"<m>": "max"}, MeasureSettings()) if f"`{name}`" not in text} == set()


def test_every_benchmark_can_record_its_page() -> None:
    scripts = [file for file in (ROOT / "benchmarks").glob("*.py") if "def main()" in file.read_text()]
    assert [file.name for file in scripts if "sys.exit(recorded(main))" not in file.read_text()] == []


def test_the_pages_of_benchmarks_were_written_by_them() -> None:
    for page in set((ROOT / "docs/develop/benchmarks").glob("*.md")) - {ROOT / "docs/develop/benchmarks/index.md"}:
        text = page.read_text()
        assert text.startswith(f"<!-- written by benchmarks/{page.stem}.py --record -->")
        assert all(f"| {fact} | " in text for fact in ("command", "commit", "date", "machine"))


def test_the_figures_in_the_readme_are_those_that_were_recorded() -> None:
    text = README.read_text()
    demo, overhead = ((ROOT / f"docs/develop/benchmarks/{name}.md").read_text() for name in ("demo", "trial_overhead"))
    (size,) = re.findall(r"(?m)^→★.* kB +(\d+)%", demo)
    assert f"**{size} %** of the original's size" in text
    medians = dict(re.findall(r"(?m)^(\w+) +([\d.]+) +[\d.]+-[\d.]+ +\d+$", overhead))
    assert f"**{float(medians['gang']):.2f} s** beyond its training" in text
    assert f"took {float(medians['documented']):.0f} s" in text.replace("\n", " ")
