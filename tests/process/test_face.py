"""`import paretune`: what the command line can do, in the same words."""

from __future__ import annotations

import ast
import inspect
import json
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import typer.main

import paretune
from orchestrator.cli import app
from orchestrator.report.export import to_csv, to_dict
from tests.support.places import ROOT
from tests.support.sample_sweep import write_sample
from trainables.storage import Storage

DIGITS = ROOT / "examples/digits.yaml"
OF_A_TERMINAL = {
    "details",
    "format",
    "client",
    "help",
}  # how a command prints; a function returns a value that has all of it


@pytest.fixture
def storage(tmp_path: Path) -> str:
    write_sample(Storage(str(tmp_path)))
    return str(tmp_path)


def test_the_face_only_hands_on_names() -> None:
    source = Path(inspect.getfile(paretune))
    assert [file.name for file in source.parent.glob("*.py")] == ["__init__.py"]
    for_types = next(node for node in ast.parse(source.read_text()).body if isinstance(node, ast.If))
    typed = {
        name.name: node.module for node in for_types.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert typed == paretune._HOME
    assert sorted(typed) == paretune.__all__ == dir(paretune)


@pytest.mark.parametrize("name", paretune.__all__)
def test_every_name_is_defined_where_the_face_says(name: str) -> None:
    assert getattr(paretune, name) is vars(import_module(paretune._HOME[name]))[name]
    assert name == "Batch" or getattr(paretune, name).__module__ == paretune._HOME[name]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="'paretune' has no attribute 'rum'"):
        _ = paretune.rum  # type: ignore[attr-defined]


def test_every_command_is_a_function_with_the_same_options() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lacking = {
        name: sorted(set(options) - set(inspect.signature(getattr(paretune, name)).parameters))
        for name, command in commands.items()
        for options in [[_in_python(option) for option in command.params if option.name not in OF_A_TERMINAL]]
    }
    assert {name: options for name, options in lacking.items() if options} == {}


def _in_python(parameter: typer.core.click.Parameter) -> str:
    """`--max-micro-batch` -> max_micro_batch; an argument's own name, where a sweep file is a sweep."""
    if parameter.param_type_name == "argument":
        return "sweep" if parameter.name == "sweep_file" else str(parameter.name)
    return parameter.opts[0].lstrip("-").replace("-", "_")


def test_a_plan_is_a_table_with_the_columns_of_the_comparison(storage: str) -> None:
    planned = paretune.plan(DIGITS)
    assert planned.name == "digits"
    assert len(planned.trials) == 18
    assert planned.trials.index.name == "id"
    assert list(planned.trials["steps"].unique()) == [375, 93, 23]
    assert list(planned.variants["description"]) == [
        *("uncompressed", "int8", "prune 0.5", "distill 0.5", "prune 0.5 + int8")
    ]
    settings = {"batch_size", "learning_rate", "optimizer.momentum", "budget.examples", "learning_rate_source"}
    assert settings <= set(planned.trials.columns) & set(paretune.compare("sample", storage).trials.columns)
    assert "total: 23 trials (18 baselines, 5 variants)" in str(planned)
    assert planned.to_dict()["totals"]["trials"] == 23


def test_a_sweep_is_a_file_or_what_stands_in_one() -> None:
    from orchestrator.sweepfile.yaml_file import read_yaml

    content = read_yaml(DIGITS).content
    content["parameters"]["batch_size"] = {"values": tuple(pd.Series([16, 64, 256]))}  # as a notebook may have them
    assert list(paretune.plan(content).trials.index) == list(paretune.plan(str(DIGITS)).trials.index)


def test_a_wrong_sweep_raises_everything_that_is_wrong() -> None:
    with pytest.raises(paretune.SweepError, match="the sweep has") as caught:
        paretune.plan({"name": "digits", "task": "digits_cn", "budget": {"exmples": 10}})
    assert {problem.path for problem in caught.value.problems} >= {"task", "budget.exmples"}
    assert isinstance(caught.value, paretune.ParetuneError)
    assert isinstance(caught.value, ValueError)


def test_trials_are_those_that_the_command_writes(storage: str) -> None:
    found = paretune.compare("sample", storage)
    lines = to_csv(found._found).splitlines()
    assert list(found.trials.reset_index().columns) == lines[0].split(",")
    assert list(found.trials.index) == [line.partition(",")[0] for line in lines[1:]]
    assert found.trials["val_accuracy"].dtype == float
    assert found.to_dict() == to_dict(found._found)
    assert json.dumps(found.to_dict())


def test_the_front_is_the_trials_that_are_on_it(storage: str) -> None:
    found = paretune.compare("sample", storage)
    assert list(found.pareto.index) == list(found.trials.index[found.trials["pareto"]])
    assert found.recommendation.row is not None
    assert found.recommendation.row.id in found.pareto.index
    assert found.trials["recommended"].sum() == 1


def test_a_comparison_prints_what_the_command_prints(storage: str) -> None:
    found = paretune.compare("sample", storage)
    assert "Recommended" in str(found)
    assert repr(found) == f"<Comparison of sample: 42 trials, recommended: {found.recommendation.row.id}>"
    assert found._repr_html_().startswith("<pre")
    assert "Recommended" in found._repr_html_()


def test_plots_are_plotly_figures_by_name(storage: str) -> None:
    found = paretune.compare("sample", storage)
    assert found.plots == (
        *("latency_ms_batch_1", "latency_ms_batch_64", "artifact_bytes"),
        *("steps_to_target", "examples_to_target", "seconds_to_target"),
        *("objective", "learning_rate", "examples_per_second", "curves_by_examples", "curves_by_steps"),
    )
    figure = found.plot("objective")
    assert figure.layout.title.text == "val_accuracy against batch size"
    assert figure.data
    with pytest.raises(paretune.InputError, match="there is no plot 'latency'; there are: latency_ms_batch_1, "):
        found.plot("latency")


def test_a_plot_without_data_says_why(tmp_path: Path) -> None:
    write_sample(Storage(str(tmp_path)), chains=())
    with pytest.raises(paretune.InputError, match="No compressed model has been measured"):
        paretune.compare("sample", str(tmp_path)).plot("artifact_bytes")


def test_a_report_is_one_page(storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert paretune.report("sample", storage) == tmp_path / "sample.html"
    assert paretune.report("sample", storage, output=tmp_path / "pages/one.html").read_text().startswith("<!DOCTYPE")


def test_what_is_not_there_is_named(storage: str, tmp_path: Path) -> None:
    with pytest.raises(paretune.TableError, match="smaple"):
        paretune.compare("smaple", storage)
    with pytest.raises(paretune.InputError, match="no trial 'abc' has ended in"):
        paretune.load_model("abc", storage)
    with pytest.raises(paretune.InputError, match=r"there is no file .*none\.pt2"):
        paretune.load_model(tmp_path / "none.pt2")
    with pytest.raises(paretune.InputError, match="neither a path nor a URI"):
        paretune.compare("sample", "s4://nowhere/x")


def test_what_a_probe_is_asked_for_is_checked_before_it_runs() -> None:
    with pytest.raises(paretune.InputError, match="optimizer 'adamm' is unknown; it is one of sgd, adam, adamw"):
        paretune.probe("digits_cnn", optimizer="adamm")
    with pytest.raises(paretune.InputError, match="precision 'float8' is unknown; it is one of float32, "):
        paretune.probe("digits_cnn", precision="float8")  # type: ignore[arg-type]
    with pytest.raises(paretune.InputError, match="'2 foo' is not an amount of memory"):
        paretune.probe("digits_cnn", memory_limit="2 foo")
    with pytest.raises(paretune.SweepError, match="did you mean 'digits_cnn'"):
        paretune.probe("digits_cn", precision="float32")
