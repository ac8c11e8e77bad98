"""Readings at equal examples and equal steps, and what they say: overfitting, or fewer steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from sample_sweep import baseline_config, sample_plan, sample_results

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.fair import Behind, behind, checkpoints, value_at
from orchestrator.analysis.table import StoredPlan, StoredTrial, SweepTable, make_table
from orchestrator.report.batch_export import equal_readings
from orchestrator.report.batch_section import fair_html
from orchestrator.report.export import to_dict
from trainables.config import AdamW, BaselineConfig, trial_id
from trainables.results import Estimate, Report, Status, TrialResult

Curve = Callable[[int, int, int], tuple[float, float]]  # batch size, step, seed -> validation, training accuracy


def table_of(curve: Curve, batch_sizes: tuple[int, ...] = (16, 256), seeds: int = 4) -> SweepTable:
    """Runs of 20 readings over 40,000 examples that follow a law."""
    return table_of_norms({}, curve, batch_sizes, seeds)


def table_of_norms(
    norms: dict[str, Curve], default: Curve, batch_sizes: tuple[int, ...] = (16, 256), seeds: int = 4
) -> SweepTable:
    """The same, with runs for every value of an option of the task, each with a law of its own."""
    plan = sample_plan(batch_sizes=batch_sizes, multipliers=(1.0,), seeds=tuple(range(seeds)), chains=())
    plan = plan.model_copy(update={"trials": tuple(with_norm(t, norm) for t in plan.trials for norm in norms or ("",))})
    results = {}
    for trial in plan.trials:
        assert isinstance(trial.config, BaselineConfig)
        training = trial.config.training
        curve = norms.get(str(trial.config.task.options.get("norm")), default)
        total = 40_000 // training.batch_size
        history = []
        for k in range(1, 21):
            step = total * k // 20
            validation, train = curve(training.batch_size, step, training.seed)
            metrics = {"val_accuracy": validation, "train_accuracy": train}
            history.append(Report(step=step, examples=step * training.batch_size, seconds=step, metrics=metrics))
        final = {name: Estimate(value=value) for name, value in history[-1].metrics.items()}
        results[trial.id] = TrialResult(
            id=trial.id, config=trial.config, status=Status.COMPLETED, history=tuple(history), metrics=final
        )
    return make_table(StoredPlan.model_validate(plan.model_dump()), results)


def with_norm(trial: StoredTrial, norm: str) -> StoredTrial:
    assert isinstance(trial.config, BaselineConfig)
    if not norm:
        return trial
    task = trial.config.task.model_copy(update={"options": {"norm": norm}})
    config = trial.config.model_copy(update={"task": task})
    return trial.model_copy(update={"id": trial_id(config), "config": config})


def noise(seed: int, batch_size: int) -> float:
    return 0.001 * math.sin(7 * seed + batch_size)


def learning(step: float) -> float:
    return 0.95 - 0.5 * math.exp(-step / 150)


def only(table: SweepTable) -> Behind:
    (found,) = behind(table)
    assert (found.batch_size, found.best) == (256, 16)
    return found


def test_a_large_batch_that_took_fewer_steps_is_not_said_to_overfit() -> None:
    """Both learn the same from a step; after equal examples the large one has taken a sixteenth of the steps."""
    found = only(table_of(lambda b, s, seed: (learning(s) + noise(seed, b), learning(s) + 0.02 + noise(seed, b))))
    assert found.reason.startswith("took fewer steps")
    assert found.validation is not None
    assert found.validation.mean < -0.1
    assert found.at_equal_steps is not None
    assert abs(found.at_equal_steps.mean) < 0.02


def test_a_large_batch_that_overfits_is_said_to() -> None:
    """As good on training data after equal examples, and worse on validation data."""

    def curve(batch: int, step: int, seed: int) -> tuple[float, float]:
        train = learning(step * batch / 32) + noise(seed, batch)
        return train - (0.08 if batch == 256 else 0.01) + noise(seed + 1, batch), train

    assert only(table_of(curve)).reason.startswith("overfits")


def test_a_batch_that_learns_less_from_every_step_is_told_apart() -> None:
    def curve(batch: int, step: int, seed: int) -> tuple[float, float]:
        value = learning(step) - (0.1 if batch == 256 else 0.0) + noise(seed, batch)
        return value, value

    assert "its steps are worse" in only(table_of(curve)).reason


def level(value: float, slope: float = 0.0) -> Curve:
    """The same on both kinds of data; `slope` is lost at every doubling of the batch size."""

    def curve(batch: int, step: int, seed: int) -> tuple[float, float]:
        found = value + 0.01 * step * batch / 40_000 - slope * math.log2(batch / 16) + noise(seed, batch)
        return found, found

    return curve


def test_batch_sizes_are_compared_at_one_setting_and_settings_at_one_batch_size() -> None:
    """Batch norm loses 0.1 from 16 to 256, group norm nothing, and is 0.05 behind at 16: four sentences, all true."""
    table = table_of_norms({"batch": level(0.9, slope=0.025), "group": level(0.85)}, level(0.0))
    found = {(b.batch_size, b.settings, b.best, b.best_settings): b for b in behind(table)}
    assert set(found) == {
        (256, "batch", 16, "batch"),
        *((b.batch_size, "group", b.best, "group") for b in found.values() if b.settings == b.best_settings == "group"),
        (16, "group", 16, "batch"),
        (256, "batch", 256, "group"),
    }
    assert len(found) == 4
    means = {key: one.validation.mean for key, one in found.items() if one.validation is not None}
    assert means[256, "batch", 16, "batch"] == pytest.approx(-0.1, abs=0.005)
    assert means[16, "group", 16, "batch"] == pytest.approx(-0.05, abs=0.005)
    assert means[256, "batch", 256, "group"] == pytest.approx(-0.05, abs=0.005)
    (alike,) = (one for one in found.values() if one.settings == one.best_settings == "group")
    assert "no detectable difference" in alike.reason
    comparison = compare(table)
    sentences = [record["sentence"] for record in to_dict(comparison)["behind"]]
    for words in (
        "Batch 256 against 16, batch: ",
        "Batch 16, group against batch: ",
        "Batch 256, batch against group: ",
    ):
        assert any(sentence.startswith(words) for sentence in sentences)
    page = "".join(fair_html(comparison))
    for norm in ("batch", "group"):
        assert f"<td>256</td><td>{norm}</td>" in page
    assert "so it does not overfit" in found[16, "group", 16, "batch"].reason


def test_batch_sizes_are_compared_where_carried_settings_differ_at_each() -> None:
    """Weight decay is carried: at no two batch sizes is it worded alike, and its choices stand in the same order."""
    table = table_of(level(0.9, slope=0.025))
    trials = []
    for trial in table.plan.trials:
        assert isinstance(trial.config, BaselineConfig)
        for decay in (0.3, 0.03):
            adamw = AdamW(weight_decay=decay * 16 / trial.config.training.batch_size)
            training = trial.config.training.model_copy(update={"optimizer": adamw})
            config = trial.config.model_copy(update={"training": training})
            trials.append(trial.model_copy(update={"id": trial_id(config), "config": config}))
    old = {(row.config.training.batch_size, row.seed): row.result for row in table.rows if row.result}
    results = {
        t.id: old[t.config.training.batch_size, t.config.training.seed].model_copy(  # type: ignore[union-attr]
            update={"id": t.id, "config": t.config}
        )
        for t in trials
    }
    found = behind(make_table(table.plan.model_copy(update={"trials": tuple(trials)}), results))
    across = {(b.settings, b.best_settings) for b in found if b.batch_size != b.best}
    assert len(across) == 2
    assert all("weight_decay" in words for pair in across for words in pair)


def test_no_difference_and_one_seed_claim_nothing() -> None:
    same = behind(table_of(lambda b, s, seed: (learning(s * b / 32) + 20 * noise(seed, b),) * 2))
    assert "no detectable difference" in same[0].reason
    alone = behind(table_of(lambda b, s, seed: (learning(s), learning(s)), seeds=1))
    assert alone[0].reason == "not determined (one seed)"


def test_values_between_readings_and_none_outside() -> None:
    history = [
        Report(step=s, examples=8 * s, seconds=s, metrics={"val_loss": v}) for s, v in ((10, 2.0), (20, 1.0), (30, 0.8))
    ]
    assert value_at(history, "steps", 15, "val_loss") == 1.5
    assert value_at(history, "examples", 160, "val_loss") == 1.0
    assert value_at(history, "steps", 30, "val_loss") == pytest.approx(0.8)
    for at in (5, 31):
        assert value_at(history, "steps", at, "val_loss") is None
    assert value_at(history, "steps", 15, "val_accuracy") is None


def test_checkpoints_are_common_to_all() -> None:
    table = table_of(lambda b, s, seed: (0.5, 0.5), batch_sizes=(16, 64, 256))
    places = checkpoints(table)
    assert len(places.examples) == 10
    for row in table.rows:
        assert row.result is not None
        last = row.result.history[-1]
        assert places.examples[-1] <= last.examples
        assert all(value_at(row.result.history, "examples", at, "val_accuracy") == 0.5 for at in places.examples[1:])
    assert places.steps == (32, 64, 128, 256, 512)  # 256 is read from 7 to 156, 64 from 31 to 625, 16 from 125 on


def test_every_baseline_has_both_readings_in_the_json() -> None:
    plan = sample_plan()
    comparison = compare(make_table(plan, {r.id: r for r in sample_results(plan)}))
    trials = {trial["id"]: trial for trial in to_dict(comparison)["trials"]}
    some = trial_id(baseline_config(32, 1.0, 0))
    record = trials[some]["equal_examples"][-1]
    assert set(record) == {"examples", "val_accuracy", "train_accuracy", "val_loss", "train_loss"}
    assert record["val_accuracy"] < record["train_accuracy"]
    assert {record["steps"] for record in trials[some]["equal_steps"]} == set(checkpoints(comparison.table).steps)
    assert all(("equal_steps" in t) == (t["kind"] == "baseline") for t in trials.values())
    assert equal_readings(comparison)[some]["equal_examples"][-1] == record
    page = "".join(fair_html(comparison))
    assert "Overfitting, or fewer steps?" in page
    assert "Batch 128 against" in page or "Batch 8 against" in page


def test_nothing_has_run() -> None:
    table = make_table(sample_plan(), {})
    assert checkpoints(table).examples == ()
    assert behind(table) == []
    assert fair_html(compare(table)) == []
