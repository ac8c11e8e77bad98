"""The comparison as data: the promised shape, strict JSON, and the same figures in every format."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.analysis.comparison import SweepComparison, TestReading, compare
from orchestrator.analysis.table import make_table
from orchestrator.report.export import to_csv, to_dict, to_json, to_parquet
from orchestrator.sweep.spec import Goal
from tests.support.sample_sweep import sample_plan, sample_results
from trainables.config.optimizers import AdamW
from trainables.config.training import GrowAt
from trainables.config.trial import trial_id
from trainables.estimate import Estimate


def comparison_of(**options: object) -> SweepComparison:
    plan = sample_plan(**options)  # type: ignore[arg-type]
    return compare(make_table(plan, {result.id: result for result in sample_results(plan)}))


@pytest.fixture(scope="module")
def comparison() -> SweepComparison:
    return comparison_of()


def strict(text: str) -> Any:
    """JSON as others read it: without NaN and infinities."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_json_has_the_promised_shape(comparison: SweepComparison) -> None:
    data = strict(to_json(comparison))
    about_batch_sizes = ["steps_to_target", "critical_batch", "batch_size", "behind"]
    assert list(data) == ["sweep", "trials", "pareto", "recommendation", *about_batch_sizes]
    assert data["sweep"] == "sample"
    assert len(data["trials"]) == 42
    for trial in data["trials"]:
        equal = ["equal_examples", "equal_steps"] if trial["kind"] == "baseline" else []
        assert list(trial) == ["id", "kind", "parent", "status", "stage", "params", "metrics", "warnings", *equal]
        assert all(isinstance(value, int | float | None) for value in trial["metrics"].values())
    ids = {trial["id"] for trial in data["trials"]}
    assert set(data["pareto"]) <= ids
    assert {trial["parent"] for trial in data["trials"]} - {None} <= ids
    assert data["recommendation"]["trial"] in data["pareto"]
    assert data["recommendation"]["reasons"]
    assert data["recommendation"]["runner_up"]["trial"] in ids
    assert data["recommendation"]["test"] is None


def test_the_recommendation_says_what_to_set(comparison: SweepComparison) -> None:
    found = to_dict(comparison)["recommendation"]
    trial = next(t for t in to_dict(comparison)["trials"] if t["id"] == found["trial"])
    for name in ("batch_size", "learning_rate", "precision", "num_workers", "compression"):
        assert found[name] == trial["params"][name]
    assert [goal["verdict"] for goal in found["goals"]] == ["met", "met"]


def test_without_a_recommendation_the_nearest_is_named() -> None:
    goal = Goal(metric="artifact_bytes", type="percent-min-improvement", value=99)
    found = strict(to_json(comparison_of(goals=(goal,))))["recommendation"]
    assert found["trial"] is None
    assert found["nearest"] is not None
    assert found["goals"][0]["verdict"] == "missed"


def test_intervals_stand_beside_their_figure(comparison: SweepComparison) -> None:
    metrics = to_dict(comparison)["trials"][0]["metrics"]
    assert metrics["val_accuracy_low"] < metrics["val_accuracy"] < metrics["val_accuracy_high"]
    assert "parameters_low" not in metrics


def test_a_trial_that_was_cut_short_has_the_figures_of_its_last_reading(comparison: SweepComparison) -> None:
    (trial,) = [t for t in to_dict(comparison)["trials"] if t["status"] == "diverged"]
    row = comparison.table.row(trial["id"])
    assert row is not None
    assert row.result is not None
    assert trial["metrics"]["val_accuracy"] == row.result.history[-1].metrics["val_accuracy"]


def test_what_is_no_number_becomes_null() -> None:
    plan = sample_plan()
    results = {result.id: result for result in sample_results(plan)}
    first = results[plan.trials[0].id]
    odd = {**first.metrics, "val_loss": Estimate(value=math.nan), "val_extra": Estimate(value=math.inf)}
    results[first.id] = first.model_copy(update={"metrics": odd})
    metrics = strict(to_json(compare(make_table(plan, results))))["trials"][0]["metrics"]
    assert metrics["val_loss"] is None
    assert metrics["val_extra"] is None


def test_waiting_trials_are_there_without_figures() -> None:
    data = strict(to_json(compare(make_table(sample_plan(), {}))))
    assert {trial["status"] for trial in data["trials"]} == {"waiting"}
    assert {len(trial["metrics"]) for trial in data["trials"]} == {0}
    assert data["pareto"] == []


def test_settings_of_every_kind_are_flat() -> None:
    plan = sample_plan(chains=(), seeds=(0,))
    first = plan.trials[0]
    training = first.config.training.model_copy(update={"optimizer": AdamW(weight_decay=0.1)})
    config = first.config.model_copy(update={"training": training})
    trials = (first.model_copy(update={"id": trial_id(config), "config": config}), *plan.trials[1:])
    settings = to_dict(compare(make_table(plan.model_copy(update={"trials": trials}), {})))["trials"][0]["params"]
    assert settings["optimizer"] == "adamw"
    assert settings["optimizer.weight_decay"] == 0.1
    assert settings["budget.examples"] == 40_000
    assert settings["learning_rate_source"] == "linear from 0.05 at 64, x 0.5"


def test_a_nested_setting_is_one_column_per_value_and_a_figure_has_its_name_for_itself() -> None:
    """`noise_scale` is a section of settings, and a figure; the fractions of a schedule are a list."""
    plan = sample_plan(chains=(), seeds=(0,))
    first = plan.trials[0]
    training = first.config.training.model_copy(update={"batch_schedule": GrowAt(fractions=(0.25, 0.5))})
    config = first.config.model_copy(update={"training": training})
    grown = first.model_copy(update={"id": trial_id(config), "config": config})
    plan = plan.model_copy(update={"trials": (grown, *plan.trials[1:])})
    results = {result.id: result for result in sample_results(plan)}
    figure = {"noise_scale": Estimate(value=64.0, low=32.0, high=96.0)}
    last = plan.trials[-1].id
    results[last] = results[last].model_copy(update={"metrics": results[last].metrics | figure})
    found = compare(make_table(plan, results))
    table = pq.read_table(io.BytesIO(to_parquet(found)))
    assert not any(pa.types.is_nested(kind) for kind in table.schema.types)
    assert table.schema.field("noise_scale").type == pa.float64()
    records = {record["id"]: record for record in table.to_pylist()}
    assert records[last]["noise_scale"] == 64.0
    assert {record["noise_scale.every_steps"] for record in records.values()} == {32}
    assert records[grown.id]["batch_schedule.fractions.1"] == 0.5
    assert records[last]["batch_schedule.fractions.1"] is None
    assert "{" not in to_csv(found)


def test_the_options_of_the_task_are_settings_too() -> None:
    plan = sample_plan(multipliers=(1.0,))
    task = plan.trials[0].config.task.model_copy(update={"options": {"norm": "ghost"}})
    changed = [
        trial.model_copy(update={"config": trial.config.model_copy(update={"task": task})}) for trial in plan.trials
    ]
    plan = plan.model_copy(update={"trials": tuple(changed)})
    found = compare(make_table(plan, {result.id: result for result in sample_results(plan)}))
    assert {trial["params"]["task.options.norm"] for trial in to_dict(found)["trials"]} == {"ghost"}
    assert to_dict(found)["recommendation"]["options"] == {"norm": "ghost"}
    assert "task.options.norm" in to_csv(found).splitlines()[0]


def test_the_test_figures_are_given_for_the_recommended_trial(comparison: SweepComparison) -> None:
    row = comparison.recommendation.row
    assert row is not None
    reading = TestReading(trial=row.id, metrics={"test_accuracy": Estimate(value=0.961, low=0.94, high=0.98)})
    found = to_dict(compare(comparison.table, reading))["recommendation"]
    assert found["test"] == {"test_accuracy": 0.961, "test_accuracy_low": 0.94, "test_accuracy_high": 0.98}
    assert found["test_readings"] == 1


def test_csv_and_parquet_agree_with_the_json(comparison: SweepComparison) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    table = pq.read_table(io.BytesIO(to_parquet(comparison)))
    trials = {trial["id"]: trial for trial in to_dict(comparison)["trials"]}
    assert len(rows) == table.num_rows == len(trials)
    for row, record in zip(rows, table.to_pylist(), strict=True):
        trial = trials[row["id"]]
        assert row["id"] == record["id"]
        for name in ("val_accuracy", "latency_p50_ms_batch_1"):
            expected = trial["metrics"].get(name)
            assert record[name] == expected
            assert row[name] == ("" if expected is None else str(expected))
    assert sum(record["recommended"] for record in table.to_pylist()) == 1
    found = json.loads(table.schema.metadata[b"recommendation"])
    assert found == to_dict(comparison)["recommendation"]


def test_parquet_of_a_sweep_without_results_can_be_read() -> None:
    table = pq.read_table(io.BytesIO(to_parquet(compare(make_table(sample_plan(), {})))))
    assert set(table.column("status").to_pylist()) == {"waiting"}
