"""`paretune plan` as a stranger meets it: in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.planning.expand import expand
from orchestrator.report.plan_json import plan_as_dict
from orchestrator.report.plan_table import baseline_table, print_plan, stage_table, summary_lines, variant_table
from orchestrator.report.tables import plain_text
from tests.support.sweep_text import load_text, sweep_text


def test_a_variant_whose_parent_is_known_has_an_id(tmp_path: Path) -> None:
    plan = expand(load_text(tmp_path, sweep_text(compression="{parents: all, variants: [int8]}")))
    table = variant_table(plan)
    assert [row[1] for row in table.rows[::2]] == [trial.id for trial in plan.trials]
    assert all(re.fullmatch("[0-9a-f]{12}", row[0]) for row in table.rows)
    later = variant_table(expand(load_text(tmp_path, sweep_text(compression="{parents: {top: 1}, variants: [int8]}"))))
    assert {row[:2] for row in later.rows} == {("(later)", "best of all, after 2 trials")}


def test_axes_that_vary_have_a_column(tmp_path: Path) -> None:
    text = sweep_text(parameters="{batch_size: 16, learning_rate: 0.1, optimizer: {values: [sgd, adamw]}}")
    table = baseline_table(expand(load_text(tmp_path, text)))
    column = table.columns.index("optimizer")
    assert [row[column].split()[0] for row in table.rows] == ["sgd", "adamw"]
    assert "sharding" not in table.columns


def test_a_budget_in_seconds_promises_no_examples(tmp_path: Path) -> None:
    plan = expand(load_text(tmp_path, sweep_text(budget="{seconds: 30}")))
    assert {row[-2:] for row in baseline_table(plan).rows} == {("for 30 s", "unknown")}
    assert "at most 90 s of training" in summary_lines(plan)[0]  # twice 30, and half of it after each pruning


NOT_KNOWN = """
from trainables.tasks import Task


class Wine(Task):
    train, validation, test = ("data/" + split for split in ("train", "validation", "test"))

    def build_model(self, width=1.0): ...
    def losses(self, outputs, batch): ...
"""


def test_what_only_the_imported_task_can_tell_is_shown_as_unknown_and_not_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "wine.py").write_text(NOT_KNOWN)
    grid = "{batch_size: {values: [16, 32]}, learning_rate: {base: 0.1, at_batch_size: 32, rule: linear, extend: 1}}"
    sections = {"task": "'wine:Wine'", "objective": "{metric: val_loss}", "goals": None, "budget": "{epochs: 2}"}
    plan = expand(load_text(tmp_path, sweep_text(**sections, parameters=grid)))
    assert {row[-2:] for row in baseline_table(plan).rows} == {("unknown", "unknown")}
    assert [row[-2:] for row in variant_table(plan).rows][:3] == [("0", "0"), ("0", "0"), ("unknown", "unknown")]
    assert stage_table(plan).rows[0][2] == "unknown"
    assert (
        "examples and steps unknown: the number of rows is known once the task is imported" in (summary_lines(plan)[0])
    )
    told = plan_as_dict(plan)
    assert told["totals"]["steps"] is told["totals"]["examples"] is told["trials"][0]["steps"] is None
    assert {row["steps_at_most"] for row in told["pending"]} == {0, None}


def test_what_compression_trains_counts_before_its_parents_are_known(tmp_path: Path) -> None:
    grid = "{batch_size: auto, learning_rate: {base: 0.1, at_batch_size: 32, rule: linear}}"
    chains = "{parents: {top: 1}, variants: [int8, {fine_tune: {budget_fraction: 0.5}}, {distill: {width: 0.5}}]}"
    sections = {"objective": "{metric: val_accuracy, target: 0.9}", "goals": None, "parameters": grid}
    sections["budget"] = "{examples: 8000}"
    plain_sweep, compressing = (
        plan_as_dict(expand(load_text(tmp_path, sweep_text(**sections, compression=compression))))["totals"]
        for compression in (None, chains)
    )
    assert compressing["variants"] == 4
    assert 0.9 < (compressing["examples"] - plain_sweep["examples"]) / (1.5 * 8000) <= 1
    assert compressing["steps"] is None, "of batch sizes that are to be found"


def test_plain_tables_are_aligned_and_whole(tmp_path: Path) -> None:
    plan = expand(load_text(tmp_path, sweep_text()))
    table = baseline_table(plan)
    title, *lines = plain_text(lambda console: print_plan(plan, console)).split("\n\n")[0].split("\n")
    assert title == table.title
    assert [tuple(re.split("  +", line)) for line in lines] == [table.columns, *table.rows]
    cells = [[match.span() for match in re.finditer(r"\S+(?: \S+)*", line)] for line in lines]
    for column in zip(*cells, strict=True):
        starts, ends = zip(*column, strict=True)
        assert len(set(starts)) == 1 or len(set(ends)) == 1
