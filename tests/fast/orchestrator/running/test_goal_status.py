"""Variants that miss a goal: what the table, the journal's records and other sweeps say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.goals import GoalVerdict, judge, judged
from orchestrator.analysis.table import make_table
from orchestrator.planning.expand import expand
from orchestrator.report.export import to_dict
from orchestrator.running.goal_status import GoalStatus
from orchestrator.wording.goals import ending_words
from tests.support.sample_sweep import sample_plan, sample_results
from tests.support.scripted import Told
from tests.support.sweep_text import load_text, sweep_text
from trainables.results import Status, TrialResult

PLAN = sample_plan()
RESULTS = {result.id: result for result in sample_results(PLAN)}


class Kept(Told):
    def __init__(self) -> None:
        super().__init__()
        self.results: dict[str, TrialResult] = {}

    def ended(self, result: TrialResult) -> None:
        self.results[result.id] = result


@pytest.fixture
def sweep_with_goals(tmp_path: Path) -> Any:
    goals = "[{metric: val_accuracy, type: max-degradation, value: 0.01}, {metric: artifact_bytes, type: "\
            "percent-min-improvement, value: 50}]"  # fmt: skip
    return expand(load_text(tmp_path, sweep_text(goals=goals)))


def test_a_variant_that_misses_a_goal_says_so_and_by_how_much() -> None:
    table = judged(make_table(PLAN, RESULTS))
    missed = [row for row in table.rows if row.status == "goal_missed"]
    assert missed
    for row in table.rows:
        verdicts = [one.verdict for c in table.variants if row in c.rows for one in judge(table, c, PLAN.goals)]
        may_miss = row.kind == "variant" and bool(row.compression) and row.compression != "uncompressed"
        assert (row.status == "goal_missed") == (may_miss and GoalVerdict.MISSED in verdicts)
    assert all("missed" in (ending_words(table, row) or "") for row in missed)
    assert all(row.value("val_accuracy") is not None for row in missed), "its figures are those of a whole run"


def test_the_json_says_it_too_and_the_result_itself_does_not() -> None:
    trials = to_dict(compare(make_table(PLAN, RESULTS)))["trials"]
    statuses = {trial["id"]: trial["status"] for trial in trials}
    missed = {trial for trial, status in statuses.items() if status == "goal_missed"}
    assert missed
    assert {RESULTS[trial].status for trial in missed} == {Status.COMPLETED}


def test_without_goals_nothing_is_missed() -> None:
    plan = sample_plan(goals=())
    table = make_table(plan, RESULTS)
    assert judged(table) is table


def test_what_is_told_while_it_runs_is_what_the_table_says(sweep_with_goals: Any) -> None:
    kept = Kept()
    observer = GoalStatus(sweep_with_goals, kept)
    for result in RESULTS.values():
        observer.ended(result)
    said = {row.id: row.status for row in judged(make_table(PLAN, RESULTS)).rows}
    assert {trial: result.status.value for trial, result in kept.results.items()} == said
    reasons = [result.reason or "" for result in kept.results.values() if result.status is Status.GOAL_MISSED]
    assert reasons
    assert all(": missed, " in reason for reason in reasons)
