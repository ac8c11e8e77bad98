"""Goals: every type in both directions, what they are measured against, and when they cannot be told."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from orchestrator.analysis.goals import (
    GoalResult,
    GoalVerdict,
    NotMeasured,
    ParentIsZero,
    ParentNotMeasured,
    WhyNotJudged,
    distance,
    judge,
    meets,
)
from orchestrator.analysis.latencies import NotQuiet
from orchestrator.analysis.plan_file import StoredPlan, StoredTrial
from orchestrator.analysis.statistics import Basis
from orchestrator.analysis.table import SweepTable, make_table
from orchestrator.sweep.spec import Goal, Objective
from orchestrator.wording.goals import goal_words, result_words, why_not_judged
from tests.support.sample_sweep import TASK, baseline_config
from trainables.config.compression import Int8
from trainables.config.trial import VariantConfig, trial_id
from trainables.estimate import Estimate
from trainables.results import Status, TrialResult

Figures = Mapping[str, float | Estimate]


def variants(parent: Figures, variant: Figures, seeds: int = 1) -> SweepTable:
    """One parent, uncompressed and as int8, with the figures given; further seeds get the same."""
    trials, results = [], {}
    for seed in range(seeds):
        baseline = baseline_config(32, 1.0, seed)
        for chain, figures in (((), parent), ((Int8(),), variant)):
            config = VariantConfig(task=TASK, parent=trial_id(baseline), training=baseline.training, chain=chain)
            trials.append(StoredTrial(id=trial_id(config), config=config))
            metrics = {k: v if isinstance(v, Estimate) else Estimate(value=v) for k, v in figures.items()}
            result = TrialResult(id=trial_id(config), config=config, status=Status.COMPLETED, metrics=metrics)
            results[result.id] = result
    objective = Objective(metric="val_accuracy", mode="max")
    directions = {"accuracy": "max", "loss": "min"}
    plan = StoredPlan(name="s", task="t", objective=objective, directions=directions, trials=tuple(trials))  # type: ignore[arg-type]
    return make_table(plan, results)


def judged(table: SweepTable, goal: Goal) -> GoalResult:
    int8 = next(c for c in table.variants if c.compression == "int8")
    (result,) = judge(table, int8, [goal])
    return result


@pytest.mark.parametrize(
    ("metric", "kind", "limit", "parent", "variant", "met", "margin"),
    [
        ("val_accuracy", "threshold", 0.95, 0.98, 0.96, True, 0.01),
        ("val_accuracy", "threshold", 0.97, 0.98, 0.96, False, -0.01),
        ("val_loss", "threshold", 0.2, 0.1, 0.15, True, 0.05),  # less is better: at most
        ("val_loss", "threshold", 0.2, 0.1, 0.25, False, -0.05),
        ("val_accuracy", "max-degradation", 0.01, 0.98, 0.975, True, 0.005),
        ("val_accuracy", "max-degradation", 0.01, 0.98, 0.96, False, -0.01),
        ("val_accuracy", "max-degradation", 0.01, 0.98, 0.99, True, 0.02),  # better than the parent
        ("val_loss", "max-degradation", 0.1, 0.2, 0.35, False, -0.05),
        ("val_accuracy", "percent-max-degradation", 1, 0.50, 0.49, False, -1.0),  # 2 % of 0.50
        ("val_accuracy", "min-improvement", 0.01, 0.90, 0.92, True, 0.01),
        ("artifact_bytes", "min-improvement", 50_000, 112_000, 72_000, False, -10_000),
        ("artifact_bytes", "percent-min-improvement", 50, 112_000, 28_000, True, 25.0),
        ("artifact_bytes", "percent-min-improvement", 80, 112_000, 28_000, False, -5.0),
        ("latency_p50_ms_batch_1", "percent-min-improvement", 20, 2.0, 1.0, True, 30.0),
        ("val_accuracy", "max-degradation", 0.0, 0.98, 0.98, True, 0.0),  # on the limit is met,
        ("val_accuracy", "max-degradation", 0.01, 0.98, 0.97, True, 0.0),  # also where floats say 0.010000000000000009
    ],
)
def test_verdict_and_margin(
    metric: str, kind: str, limit: float, parent: float, variant: float, met: bool, margin: float
) -> None:
    goal = Goal(metric=metric, type=kind, value=limit)  # type: ignore[arg-type]
    result = judged(variants({metric: parent}, {metric: variant}), goal)
    assert result.verdict is (GoalVerdict.MET if met else GoalVerdict.MISSED)
    assert result.margin is not None
    assert result.margin.mean == pytest.approx(margin, abs=1e-9)


def test_a_negative_metric_is_degraded_in_percent_of_its_size() -> None:
    goal = Goal(metric="val_r2", type="percent-max-degradation", value=10)
    table = variants({"val_r2": -0.5}, {"val_r2": -0.6})
    table = make_table(
        table.plan.model_copy(update={"directions": {"r2": "max"}}), {r.id: r.result for r in table.rows}
    )  # type: ignore[misc]
    result = judged(table, goal)
    assert result.margin is not None
    assert result.margin.mean == pytest.approx(-10)  # 20 % worse


def test_the_row_by_row_difference_is_preferred_and_gives_the_interval() -> None:
    change = Estimate(value=-0.004, low=-0.012, high=0.004, n=360)
    table = variants({"val_accuracy": 0.98}, {"val_accuracy": 0.97, "val_accuracy_change": change})
    result = judged(table, Goal(metric="val_accuracy", type="max-degradation", value=0.01))
    assert result.margin is not None
    assert result.margin.mean == pytest.approx(0.006)
    assert (result.margin.low, result.margin.high) == pytest.approx((-0.002, 0.014))
    assert result.margin.basis is Basis.WITHIN
    assert result.within_noise
    assert result.verdict is GoalVerdict.MET  # judged on the point, doubted by the interval


def test_the_ratio_in_alternation_is_preferred_for_latency() -> None:
    ratio = Estimate(value=0.7, low=0.65, high=0.78, n=20)
    figures = {"latency_p50_ms_batch_1": 1.9, "latency_ratio_batch_1": ratio}
    table = variants({"latency_p50_ms_batch_1": 2.0}, figures)  # the two clocks disagree: the machine drifted
    result = judged(table, Goal(metric="latency_p50_ms_batch_1", type="percent-min-improvement", value=25))
    assert result.achieved == pytest.approx(30)
    assert result.margin is not None
    assert (result.margin.low, result.margin.high) == pytest.approx((-3, 10))


def test_a_change_that_is_no_number_falls_back_on_the_two_levels() -> None:
    table = variants({"val_loss": 0.2}, {"val_loss": 0.3, "val_loss_change": math.nan})
    result = judged(table, Goal(metric="val_loss", type="max-degradation", value=0.2))
    assert result.margin is not None
    assert result.margin.mean == pytest.approx(0.1)


def test_the_stated_reference_serves_when_the_uncompressed_was_not_measured() -> None:
    table = variants({}, {"artifact_bytes": 30.0, "reference_artifact_bytes": 100.0})
    result = judged(table, Goal(metric="artifact_bytes", type="percent-min-improvement", value=50))
    assert result.achieved == pytest.approx(70)


@pytest.mark.parametrize(
    ("parent", "variant", "reason"),
    [
        ({"val_loss": 0.1}, {}, NotMeasured("val_loss")),
        ({"val_loss": 0.1}, {"val_loss": math.nan}, NotMeasured("val_loss")),
        ({}, {"val_loss": 0.1}, ParentNotMeasured("val_loss")),
        ({"val_loss": 0.0}, {"val_loss": 0.1}, ParentIsZero("val_loss")),
    ],
)
def test_what_cannot_be_told_is_not_met(parent: Figures, variant: Figures, reason: WhyNotJudged) -> None:
    result = judged(variants(parent, variant), Goal(metric="val_loss", type="percent-max-degradation", value=5))
    assert (result.verdict, result.reason) == (GoalVerdict.NOT_DETERMINED, reason)
    assert not meets([result])
    assert result.shortfall == math.inf


def test_over_seeds_each_variant_is_held_against_its_own_parent() -> None:
    table = variants({"val_accuracy": 0.98}, {"val_accuracy": 0.975}, seeds=3)
    results = {row.id: row.result for row in table.rows}
    shifts = {0: 0.0, 1: -0.3, 2: 0.01}  # one seed trained badly: parent and variant alike
    for row in table.rows:
        assert row.result is not None
        level = row.result.metrics["val_accuracy"].value + shifts[row.seed]
        level += 0.0001 * row.seed if row.compression == "int8" else 0.0
        results[row.id] = row.result.model_copy(update={"metrics": {"val_accuracy": Estimate(value=level)}})
    table = make_table(table.plan, {trial: r for trial, r in results.items() if r})
    result = judged(table, Goal(metric="val_accuracy", type="max-degradation", value=0.01))
    assert result.margin is not None
    assert result.margin.half_width == pytest.approx(4.30265 * 0.0001 / math.sqrt(3), rel=1e-4)  # t x sd / sqrt(seeds)
    assert (result.margin.n, result.margin.basis) == (3, Basis.SEEDS)


def test_a_model_held_against_itself_has_not_changed_for_certain() -> None:
    """Its rows are the parent's, so few of them are no reason for doubt."""
    figures: Figures = {"val_accuracy": 0.98, "val_accuracy_change": Estimate.of_paired_shares(0, 0, 60)}
    table = variants(figures, figures)
    goal = Goal(metric="val_accuracy", type="max-degradation", value=0.01)
    doubtful = {c.compression: judge(table, c, [goal])[0].within_noise for c in table.variants}
    assert doubtful == {"uncompressed": False, "int8": True}


def test_seeds_that_all_gave_the_same_are_not_surer_than_the_rows_of_one() -> None:
    figures: Figures = {"val_accuracy": 0.98, "val_accuracy_change": Estimate.of_paired_shares(0, 1, 287)}
    table = variants(figures, figures, seeds=3)
    found = judged(table, Goal(metric="val_accuracy", type="max-degradation", value=0.005))
    assert found.margin is not None
    assert (found.margin.n, found.margin.basis) == (3, Basis.WITHIN)
    assert found.within_noise


def test_shortfalls_are_in_units_of_each_goals_limit() -> None:
    table = variants({"val_accuracy": 0.98, "artifact_bytes": 100}, {"val_accuracy": 0.95, "artifact_bytes": 70})
    goals = [
        Goal(metric="val_accuracy", type="max-degradation", value=0.01),  # 0.02 too much: 2 limits
        Goal(metric="artifact_bytes", type="percent-min-improvement", value=50),  # 20 points short: 0.4 limits
    ]
    results = judge(table, next(c for c in table.variants if c.compression == "int8"), goals)
    assert [result.shortfall for result in results] == pytest.approx([2.0, 0.4])
    assert distance(results) == (0, pytest.approx(2.4))


@pytest.mark.parametrize(
    ("metric", "kind", "limit"),
    [
        ("latency_p50_ms_batch_1", "threshold", 1.0),
        ("latency_p95_ms_batch_1", "threshold", 1.0),
        ("latency_ratio_batch_1", "threshold", 0.9),
        ("latency_p50_ms_batch_1", "percent-min-improvement", 10),
        ("latency_p50_ms_batch_1", "max-degradation", 0.1),
    ],
)
@pytest.mark.parametrize(
    ("control", "reason"),
    [
        (Estimate(value=1.01, low=0.98, high=1.03), None),
        (
            Estimate(value=0.63, low=0.61, high=0.65),
            "the control (the parent's latency over itself) was 0.630 (0.610 to 0.650) at",
        ),
        (
            Estimate(value=1.0, low=0.8, high=1.2),
            "the control (the parent's latency over itself) was 1.00 (0.800 to 1.20) at batch 1",
        ),
    ],
)
def test_a_goal_on_a_latency_is_judged_only_where_its_control_was_quiet(
    metric: str, kind: str, limit: float, control: Estimate, reason: str | None
) -> None:
    figures = {f"latency_{name}_batch_1": 0.5 for name in ("p50_ms", "p95_ms", "ratio")} | {"artifact_bytes": 10.0}
    parent = {f"latency_{name}_batch_1": 1.0 for name in ("p50_ms", "p95_ms", "ratio")} | {"artifact_bytes": 20.0}
    table = variants(parent, {**figures, "control_latency_ratio_batch_1": control})
    result = judged(table, Goal(metric=metric, type=kind, value=limit))  # type: ignore[arg-type]
    if reason is None:
        assert result.verdict is GoalVerdict.MET
        return
    assert (result.verdict, meets([result])) == (GoalVerdict.NOT_DETERMINED, False)
    assert isinstance(result.reason, NotQuiet)
    assert reason in why_not_judged(result.reason)
    size = judged(table, Goal(metric="artifact_bytes", type="percent-min-improvement", value=60))
    assert size.verdict is GoalVerdict.MISSED, "what no clock tells is judged as ever"
    assert distance([result, size]) == (1, pytest.approx(10 / 60))


def test_the_control_of_another_batch_size_is_no_control_of_this_one() -> None:
    off = Estimate(value=0.63)
    table = variants(
        {"latency_p50_ms_batch_1": 1.0}, {"latency_p50_ms_batch_1": 0.5, "control_latency_ratio_batch_64": off}
    )
    assert judged(table, Goal(metric="latency_p50_ms_batch_1", type="threshold", value=1.0)).verdict is GoalVerdict.MET


def test_a_baseline_has_no_parent_to_be_compared_with() -> None:
    baseline = baseline_config(32, 1.0, 0)
    trial = trial_id(baseline)
    metrics = {"val_accuracy": Estimate(value=0.9)}
    plan = StoredPlan(
        name="s",
        task="t",
        objective=Objective(metric="val_accuracy", mode="max"),
        trials=(StoredTrial(id=trial, config=baseline),),
    )
    result = TrialResult(id=trial, config=baseline, status=Status.COMPLETED, metrics=metrics)
    table = make_table(plan, {trial: result})
    relative = Goal(metric="val_accuracy", type="max-degradation", value=0.1)
    level = Goal(metric="val_accuracy", type="threshold", value=0.8)
    verdicts = [r.verdict for r in judge(table, table.baselines[0], [relative, level])]
    assert verdicts == [GoalVerdict.NOT_DETERMINED, GoalVerdict.MET]


@pytest.mark.parametrize(
    ("goal", "mode", "words"),
    [
        (("val_accuracy", "max-degradation", 0.01), "max", "val_accuracy at most 0.01 lower than the parent's"),
        (("x_bytes", "percent-min-improvement", 50), "min", "x_bytes at least 50 % lower than the parent's"),
        (("artifact_bytes", "threshold", 20_000), "min", "artifact_bytes at most 20 kB"),
        (("x_ms_batch_1", "min-improvement", 0.5), "min", "x_ms_batch_1 at least 0.5 ms lower than the parent's"),
    ],
)
def test_goals_in_words(goal: tuple[str, str, float], mode: str, words: str) -> None:
    metric, kind, value = goal
    assert goal_words(Goal(metric=metric, type=kind, value=value), mode) == words  # type: ignore[arg-type]


def test_a_result_in_words_names_what_was_asked_what_is_and_the_doubt() -> None:
    change = Estimate(value=-0.004, low=-0.012, high=0.004, n=360)
    table = variants({"val_accuracy": 0.98}, {"val_accuracy": 0.976, "val_accuracy_change": change})
    result = judged(table, Goal(metric="val_accuracy", type="max-degradation", value=0.01))
    assert result_words(result, "max") == (
        "val_accuracy at most 0.01 lower than the parent's: met, 0.0040 lower, within noise (margin 0.006 ± 0.008)"
    )
