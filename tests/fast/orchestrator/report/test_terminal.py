"""What a person reads: figures in words, tables that fit, and the two commands with their exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.analysis.comparison import SweepComparison, TestReading, compare
from orchestrator.analysis.table import make_table
from orchestrator.commands.compare import compare_command, comparison_text, report_command
from orchestrator.report.export import to_dict
from orchestrator.report.page import to_page
from orchestrator.report.terminal import print_comparison, training_title, trainings, warnings
from orchestrator.sweep.labels import settings_words, varying_settings
from orchestrator.sweep.spec import Goal
from orchestrator.wording.format import number, quantity, unit_of, with_interval
from tests.support.sample_sweep import sample_plan, sample_results, write_sample
from trainables.config.optimizers import AdamW
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.estimate import Estimate
from trainables.storage import Storage
from trainables.tasks.catalog import BUILTIN


def comparison_of(**options: object) -> SweepComparison:
    plan = sample_plan(**options)  # type: ignore[arg-type]
    return compare(make_table(plan, {result.id: result for result in sample_results(plan)}))


@pytest.fixture(scope="module")
def comparison() -> SweepComparison:
    return comparison_of()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    place = Storage(str(tmp_path_factory.mktemp("storage")))
    write_sample(place)
    return place


def test_no_metric_of_a_task_has_a_unit_that_its_name_only_seems_to_hold() -> None:
    for metric in ("loss", *(name for builtin in BUILTIN.values() for name in builtin.metrics)):
        for split in ("val_", "train_", "test_", "best_val_"):
            assert unit_of(f"{split}{metric}") == (1.0, "")
    assert quantity("latency_p50_ms_batch_1", 0.4) == "0.400 ms"


def test_what_is_recommended_stands_in_the_table_also_where_another_rate_was_better() -> None:
    """All rates are equally good, and the highest is there first: the table shows the best rate, and the chosen one."""
    plan = sample_plan(chains=(), goals=(), multipliers=(1.0, 2.0), batch_sizes=(8, 32), seeds=(0,))
    results = {result.id: result for result in sample_results(plan)}
    for row in make_table(plan, results).rows:
        value = 0.961 if row.config.training.learning_rate == plan.trials[0].config.training.learning_rate else 0.96
        figure = {"val_accuracy": Estimate(value=value, low=0.94, high=0.98, n=360)}
        results[row.id] = results[row.id].model_copy(update={"metrics": results[row.id].metrics | figure})
    found = compare(make_table(plan, results))
    assert found.recommendation.configuration in trainings(found)
    console = Console(width=160, record=True, file=io.StringIO())
    print_comparison(found, console, details=True)
    assert "→" in console.export_text().partition("→ Recommended")[0]


def test_warnings_of_variants_that_are_not_recommended_are_told_too() -> None:
    plan = sample_plan()
    results = {result.id: result for result in sample_results(plan)}
    first = compare(make_table(plan, results)).recommendation.row
    other = next(r for r in results.values() if r.config.kind == "variant" and first and r.id != first.id)
    results[other.id] = other.model_copy(update={"warnings": ("It is neither.",)})
    found = compare(make_table(plan, results))
    assert [line for line in warnings(found) if line.startswith(other.id)] == [
        f"{other.id} ({found.table.row(other.id).compression}): It is neither."  # type: ignore[union-attr]
    ]
    (trial,) = (trial for trial in to_dict(found)["trials"] if trial["id"] == other.id)
    assert trial["warnings"] == ["It is neither."]


def test_one_rate_for_each_batch_size_is_not_called_the_best_of_several() -> None:
    assert "at its one learning rate" in training_title(comparison_of(chains=(), multipliers=(1.0,)))
    assert "at the best of its learning rates" in training_title(comparison_of(chains=()))


# -- figures in words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (0.0123456, "0.0123"), (4.5678, "4.57"), (99.96, "100"), (123.4, "123"), (12345.6, "12,346"),
     (-0.5, "-0.500"), (0.00001234, "1.23e-05"), (float("nan"), "nan"), (float("inf"), "inf"), (1e18, "1.00e+18")],
)  # fmt: skip
def test_numbers(value: float, words: str) -> None:
    assert number(value) == words


@pytest.mark.parametrize(
    ("value", "half_width", "words"),
    [
        (0.96234, 0.01412, "0.962 ± 0.014"),
        (0.97213, 0.00594, "0.972 ± 0.006"),
        (0.9721, None, "0.972"),
        (2341.2, 125.0, "2,341 ± 125"),
        (0.5, 0.0, "0.500 ± 0"),
        (1.0, float("inf"), "1.00"),
        (0.12, 0.0996, "0.12 ± 0.10"),
        (-0.004, 0.0996, "0.00 ± 0.10"),
    ],
)
def test_a_figure_has_as_many_digits_as_its_interval_deserves(
    value: float, half_width: float | None, words: str
) -> None:
    assert with_interval(value, half_width) == words


def test_units_come_from_the_name() -> None:
    assert quantity("artifact_bytes", 112_345) == "112 kB"
    assert quantity("latency_p50_ms_batch_64", 0.4123) == "0.412 ms"
    assert quantity("train_seconds", 3.456) == "3.46 s"
    assert quantity("val_accuracy", 0.9623) == "0.962"


def test_only_settings_that_vary_are_named() -> None:
    base = Training(batch_size=8, micro_batch_size=8, learning_rate=0.1, budget=Budget(unit="steps", amount=5))
    other = base.model_copy(update={"precision": "bfloat16", "optimizer": AdamW(weight_decay=0.1)})

    def trial(training: Training, **options: str | int) -> BaselineConfig:
        return BaselineConfig(task=TaskConfig(name="t", options=options, data="", code=""), training=training)

    names = varying_settings([trial(base), trial(other)])
    assert names == ["precision", "optimizer"]
    assert settings_words(trial(other), names) == "bfloat16, adamw weight_decay=0.1"
    reseeded = base.model_copy(update={"seed": 5, "batch_size": 16, "micro_batch_size": 16})
    assert varying_settings([trial(base, norm="group"), trial(reseeded, norm="group")]) == []
    pair = [trial(base, norm="group", channels=8), trial(base, norm="ghost", channels=16)]
    names = varying_settings(pair)
    assert [settings_words(one, names) for one in pair] == ["group, channels 8", "ghost, channels 16"]


# -- the tables -------------------------------------------------------------------------------------------------------


def test_a_stranger_finds_everything(comparison: SweepComparison) -> None:
    text = comparison_text(comparison, details=True)
    for words in (
        "Sweep sample: digits_cnn, val_accuracy (higher is better, target 0.95)",
        "27 baselines and 15 variants: 38 completed, 3 goal missed, 1 diverged",
        "steps to 0.95",
        "Did not run to the end",
        "the loss was nan at step 65",
        "→ Recommended: ",
        "Runner-up: ",
        "Why not: ",
        "Test data: not read yet",
        "95 % interval over 2 and 3 seeds, with their mean; or over the validation rows of one seed",
        "goals: (1) val_accuracy at most 0.01 lower than the parent's; (2) artifact_bytes at least 50 % lower",
    ):
        assert words in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("variant_seeds", [(0,), (0, 1, 2)])
def test_the_tables_fit(width: int, variant_seeds: tuple[int, ...]) -> None:
    text = comparison_text(comparison_of(variant_seeds=variant_seeds), width, details=True)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_without_a_width_every_column_is_there_and_sentences_are_fitted(comparison: SweepComparison) -> None:
    lines = comparison_text(comparison_of(variant_seeds=(0, 1, 2)), details=True).splitlines()
    (head,) = [line for line in lines if "compression" in line and "size" in line]
    table = lines[lines.index(head) + 1 :][:15]
    assert head.endswith("goals  trial")
    assert len(head) > 100
    assert all("±" in line and "x" in line and "%" in line for line in table)
    assert max(len(line) for line in lines if line not in (head, *table)) <= 120


def test_the_marks_are_where_they_belong(comparison: SweepComparison) -> None:
    lines = comparison_text(comparison, details=True).splitlines()
    recommended = comparison.recommendation.row
    assert recommended is not None
    (line,) = [line for line in lines if line.endswith(recommended.id)]
    assert line.startswith("→★")
    starred = [line for line in lines if line[1:2] == "★" and line[-12:] in comparison.pareto]
    assert len(starred) == len(comparison.front)


def test_a_missed_goal_is_marked_and_nothing_is_recommended() -> None:
    goal = Goal(metric="artifact_bytes", type="percent-min-improvement", value=95)
    text = comparison_text(comparison_of(goals=(goal,)), details=True)
    assert "No recommendation" in text
    assert "Nearest: " in text
    assert "missed, 91 % lower" in text
    assert "✗" in text


def test_one_of_a_kind_is_said_in_the_singular() -> None:
    goal = Goal(metric="val_accuracy", type="threshold", value=0.9)
    one = comparison_of(batch_sizes=(8,), multipliers=(1.0,), seeds=(0,), chains=(), goals=(goal,))
    text = comparison_text(one, details=True)
    assert "\n1 baseline: 1 completed" in text
    assert "It is the only configuration, and is within the goal." in text
    assert "The one trial" in to_page(one)


def test_a_sweep_that_has_not_begun_is_shown_too() -> None:
    text = comparison_text(compare(make_table(sample_plan(), {})))
    assert "42 waiting" in text
    assert "nothing has been measured yet" in text
    assert "No trial has ended yet." in text


def test_baselines_alone_have_no_table_of_variants() -> None:
    text = comparison_text(comparison_of(chains=(), target=None, goals=()), details=True)
    assert "Compression" not in text
    assert "steps to" not in text


def test_a_long_sweep_shows_what_matters() -> None:
    comparison = comparison_of(batch_sizes=tuple(8 * k for k in range(1, 13)), multipliers=(1.0,), seeds=(0,))
    lines = comparison_text(comparison, details=True).splitlines()
    assert len(comparison.table.variants) == 60
    shown = [line for line in lines if line[-12:] in {row.id for c in comparison.table.variants for row in c.rows}]
    assert len(shown) <= 40
    front = {c.rows[0].id for c in comparison.table.variants if c.key in comparison.front}
    assert front <= {line[-12:] for line in shown}
    assert any("--format csv has all" in line for line in lines)


def test_the_test_figures_are_shown_when_they_were_read(comparison: SweepComparison) -> None:
    row = comparison.recommendation.row
    assert row is not None
    reading = TestReading(trial=row.id, metrics={"test_accuracy": Estimate(value=0.961, low=0.94, high=0.982)})
    text = comparison_text(compare(comparison.table, reading), details=True)
    assert "Test data: test_accuracy 0.961 (0.940 to 0.982); read once, after the choice" in text
    third = reading.model_copy(update={"readings": 3})
    assert "after the choice, but the test data was read 3 times" in comparison_text(
        compare(comparison.table, third), details=True
    )


def test_it_is_said_why_test_figures_will_never_be_there() -> None:
    plan = sample_plan(chains=(), goals=())
    results = {result.id: result for result in sample_results(plan)}
    assert "Test data: not read yet" in comparison_text(compare(make_table(plan, results)), details=True)
    unexported = {id_: result.model_copy(update={"files": {"weights": "w.pt"}}) for id_, result in results.items()}
    text = comparison_text(compare(make_table(plan, unexported)), details=True)
    assert "Test data: cannot be read, because the model could not be exported" in text


# -- the commands -----------------------------------------------------------------------------------------------------


def test_compare_finds_a_sweep_by_name(storage: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_command("sample", storage.uri, "table") == 0
    assert "→ Recommended" in capsys.readouterr().out


def test_compare_finds_a_sweep_by_its_file(
    storage: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "some.yaml"
    file.write_text(
        "name: sample\ntask: digits_cnn\nobjective: {metric: val_accuracy, mode: max}\nbudget: {examples: 40000}\n"
        "parameters: {batch_size: 8, learning_rate: 0.1}\n"
    )
    assert compare_command(str(file), storage.uri, "json") == 0
    assert json.loads(capsys.readouterr().out)["sweep"] == "sample"


@pytest.mark.parametrize(
    ("sweep", "place", "format", "words"),
    [
        ("sampel", None, "table", "did you mean 'sample'?"),
        ("sample", None, "xml", "'xml' is unknown; it is one of table, json, csv, parquet"),
        ("sample", "nowhere://x", "table", "neither a path nor a URI"),
        ("missing.yaml", None, "table", "missing.yaml"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence_and_exit_code_2(
    storage: Storage, capsys: pytest.CaptureFixture[str], sweep: str, place: str | None, format: str, words: str
) -> None:
    assert compare_command(sweep, place or storage.uri, format) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_report_writes_the_page_and_says_where(
    storage: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "deep" / "page.html"
    assert report_command("sample", storage.uri, str(target)) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert report_command("other", storage.uri, str(target)) == 2
