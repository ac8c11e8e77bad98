"""`run` and `submit` take the same options, and what is asked of `submit` reaches the `run` of the job."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import typer.main

from orchestrator.cli import app
from orchestrator.remote.job_request import request_for_sweep
from orchestrator.run_options import RunOptions

ALL = RunOptions(**{field.name: True for field in dataclasses.fields(RunOptions)})
SAID_BY_SUBMIT = {
    "sweep_file",
    "storage",
    "address",
    "executor",
    "plain",
}  # the job's own: where it is, that Ray runs it, and that it has no terminal


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return group.commands


def test_every_option_of_run_is_one_of_submit(commands: dict[str, Any]) -> None:
    run = {parameter.name: parameter for parameter in commands["run"].params}
    submit = {parameter.name: parameter for parameter in commands["submit"].params}
    assert set(run) - SAID_BY_SUBMIT == {field.name for field in dataclasses.fields(RunOptions)}
    for name in set(run) - SAID_BY_SUBMIT:
        assert run[name].opts == submit[name].opts
        assert run[name].default == submit[name].default


def test_the_words_of_all_options_are_what_run_understands(commands: dict[str, Any]) -> None:
    context = commands["run"].make_context("run", ["sweep.yaml", *ALL.words()])
    assert {name: context.params[name] for name in dataclasses.asdict(ALL)} == dataclasses.asdict(ALL)
    assert RunOptions().words() == ()


def test_a_job_runs_with_the_options_that_were_given_to_submit(tmp_path) -> None:
    (tmp_path / "sweep.yaml").touch()
    request = request_for_sweep(tmp_path / "sweep.yaml", "s", "/srv/p", options=ALL)
    assert set(ALL.words()) <= set(request.command)
    assert not set(ALL.words()) & set(request_for_sweep(tmp_path / "sweep.yaml", "s", "/srv/p").command)
