"""Slips that are common in a sweep file: what is said of them leads to what was meant, and hides no other mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.diagnostics.problem import SweepError
from tests.support.sweep_text import load_text, sweep_text


def problems(folder: Path, **sections: str | None) -> dict[str, str]:
    """What is said of a file with these sections, by the path of the key."""
    with pytest.raises(SweepError) as caught:
        load_text(folder, sweep_text(**sections))
    return {problem.path: str(problem) for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("axis", "path", "words"),
    [
        ("batch_size: 16, 32", "batch_size", "several are written {values: [16, 32]}"),
        ("batch_size: {16, 32}", "batch_size", "several are written {values: [16, 32]}"),
        ("optimizer: sgd, adam", "optimizer", "several are written {values: [sgd, adam]}"),
        ("gradient_clip_norm: null, 1", "gradient_clip_norm", "several are written {values: [null, 1]}"),
        ("batch_size: 1,024", "batch_size", "write it without commas"),
        ("batch_size: '64'", "batch_size", "write it without quotes"),
        ("batch_size: 64 rows", "batch_size", "must be a whole number; allowed"),
        ("batch_size: {value: [16, 32]}", "batch_size.value", "did you mean 'values'?"),
        ("learning_rate: {vaules: [0.1]}", "learning_rate.vaules", "allowed: values; did you mean 'values'?"),
        ("optimizer: {value: [sgd]}", "optimizer.value", "did you mean 'values'?"),
    ],
)
def test_several_values_that_are_written_otherwise(tmp_path: Path, axis: str, path: str, words: str) -> None:
    axes = {"batch_size": "16", "learning_rate": "0.1", **dict([axis.split(": ", 1)])}
    text = "".join(f"\n  {key}: {value}" for key, value in axes.items())
    found = problems(tmp_path, parameters=text)
    assert list(found) == [f"parameters.{path}"]
    assert words in found[f"parameters.{path}"]


def test_a_misspelt_key_of_a_rule_is_not_taken_for_values(tmp_path: Path) -> None:
    found = problems(tmp_path, parameters="{batch_size: 16, learning_rate: {base: 0.1, rul: none}}")
    assert "did you mean 'rule'?" in found["parameters.learning_rate.rul"]


def test_without_compression_no_goal_is_offered_that_needs_it(tmp_path: Path) -> None:
    goals = "[{metric: val_acc, type: threshold, value: 0.9}, {metric: latency_x, type: threshold, value: 5}]"
    for text in problems(tmp_path, goals=goals, compression=None).values():
        assert "val_accuracy" in text
        assert not any(words in text for words in ("latency_p", "latency is", "_change", "converted_fraction"))


@pytest.mark.parametrize(
    ("options", "places"),
    [
        ("{chanels: 8}", ["chanels"]),
        ("{channels: many}", ["channels"]),
        ("{channels: [8]}", ["channels"]),
        ("{channels: {values: [8, 8]}}", ["channels.values[1]"]),
        ("{channels: {values: [[8], 16, -8]}}", ["channels.values[0]", "channels.values[2]"]),
        ("[8]", [""]),
    ],
)
def test_a_wrong_option_hides_no_other_mistake(tmp_path: Path, options: str, places: list[str]) -> None:
    found = problems(
        tmp_path,
        task=f"{{name: digits_cnn, options: {options}}}",
        objective="{metric: val_acuracy}",
        budget="{epochs: 9}",
        parameters="{batch_size: 1152, learning_rate: 0.1}",
        goals="[{metric: val_los, type: max-degradation, value: 1}]",
    )
    options_of = [f"task.options.{place}".rstrip(".") for place in places]
    assert list(found) == [*options_of, "objective.metric", "parameters.batch_size", "goals[0].metric"]


OWN = """
from trainables.tasks import Task


class Own(Task):
    metrics = {"accuracy": "max"}
    train = validation = test = "nowhere.parquet"

    def __init__(self, size):
        self.size = size

    def build_model(self, width=1.0): ...
    def losses(self, outputs, batch): ...
    def scores(self, outputs, batch): ...
"""


@pytest.mark.parametrize(
    ("options", "place", "words"),
    [
        ("{size: 3, colour: red}", "task.options.colour", "unknown option"),
        ("{size: [3]}", "task.options.size", "several values are written {values: [...]}"),
    ],
)
def test_of_an_own_task_neither_wrong_options_nor_absent_data_hide_another_mistake(
    tmp_path: Path, options: str, place: str, words: str
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    task = f"{{name: 'own:Own', options: {options}}}"
    found = problems(tmp_path, task=task, objective="{metric: val_acuracy}")
    assert set(found) == {"task.name", place, "objective.metric"}
    assert words in found[place]
    assert "did you mean 'val_accuracy'?" in found["objective.metric"]
