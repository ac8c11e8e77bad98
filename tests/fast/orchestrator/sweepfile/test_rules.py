"""What a sweep must not hold: secrets that would be written down, and names that Paretune itself needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.diagnostics.problem import SweepError
from orchestrator.remote.job_request import request_for_sweep
from tests.support.sweep_text import load_text, sweep_text

TASK = """
from trainables.tasks import Task
from orchestrator import LAYERS


class Wine(Task):
    train, validation, test = "a.parquet", "b.parquet", "c.parquet"

    def __init__(self, **options): ...
    def build_model(self, width=1.0): ...
    def losses(self, outputs, batch): ...
"""


def problems(folder: Path, options: str = "{}") -> str:
    (folder / "wine.py").write_text(TASK)
    with pytest.raises(SweepError) as refused:
        load_text(folder, sweep_text(task=f"{{name: 'wine:Wine', options: {options}}}"))
    return str(refused.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_key", "hunter2"),
        ("hubToken", "hunter2"),
        ("api_key_env", "hunter2"),
        ("password", "{values: [hunter2, hunter3]}"),
        ("database", "'postgresql://user:hunter2@host/db'"),
    ],
)
def test_an_option_that_looks_like_a_secret_is_refused_and_not_repeated(tmp_path: Path, key: str, value: str) -> None:
    said = problems(tmp_path, f"{{{key}: {value}}}")
    assert f"task.options.{key}: looks like a secret, and options are written down" in said
    holder = key.removesuffix("_env")
    assert f"allowed: the name of an environment variable that holds it on every worker, such as {holder}_env:" in said
    assert "hunter" not in said


@pytest.mark.parametrize(
    "option", ["api_key_env: HUB_KEY", "max_token: 512", "key: true", "tokens: bytes", "token: ''"]
)
def test_an_option_that_is_none_is_not(tmp_path: Path, option: str) -> None:
    assert "secret" not in problems(tmp_path, f"{{{option}}}")


@pytest.mark.parametrize("name", ["orchestrator", "paretune", "trainables"])
@pytest.mark.parametrize("file", ["{}.py", "{}/__init__.py"])
def test_a_module_that_is_called_like_a_package_of_paretune_is_refused(tmp_path: Path, name: str, file: str) -> None:
    place = tmp_path / file.format(name)
    place.parent.mkdir(exist_ok=True)
    place.write_text("LAYERS = [32]")
    said = f"the name {name!r} belongs to a package of Paretune, and {place} would be imported instead: rename"
    assert said in problems(tmp_path)
    (tmp_path / "sweep.yaml").write_text("")
    with pytest.raises(ValueError, match=f"the name '{name}' belongs to"):
        request_for_sweep(tmp_path / "sweep.yaml", "small", "/shared")


def test_a_folder_without_code_may_be_called_so(tmp_path: Path) -> None:
    (tmp_path / "trainables").mkdir()
    assert "taken" not in problems(tmp_path)
