"""Whole recommendations over made-up sweeps; the rule behind them is tested step by step beside this."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.analysis.caveats import (
    BetterTraining,
    FewSeeds,
    GoalNotAsked,
    NoFiniteFigure,
    OneSeed,
    SeedBroke,
    SeveralMachines,
    TrialWarns,
    Unfinished,
)
from orchestrator.analysis.comparison import SweepComparison, TestReading, compare, load_test_reading, save_test_reading
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.goals import meets
from orchestrator.analysis.reasons import (
    AsGoodAsBest,
    BestObjective,
    BestSeed,
    Faster,
    LostSeeds,
    NoneMeasured,
    NoneWithinGoals,
    NothingEnded,
    SetAside,
    TimesToTarget,
    TrainWith,
    WithinGoals,
)
from orchestrator.analysis.recommend import recommend, speed
from orchestrator.analysis.rows import Configuration
from orchestrator.analysis.runner_up import LargerModel, SlowerModel
from orchestrator.analysis.statistics import Verdict
from orchestrator.analysis.table import make_table
from orchestrator.sweep.spec import Goal
from orchestrator.wording.recommendation import recommendation_headline
from orchestrator.wording.training import times_words
from tests.support.sample_sweep import CHAINS, GOALS, of_kind, sample_plan, sample_results
from trainables.estimate import Estimate
from trainables.results import Status, TrialResult
from trainables.storage import Storage


def comparison_of(**options: object) -> SweepComparison:
    plan = sample_plan(**options)  # type: ignore[arg-type]
    return compare(make_table(plan, {result.id: result for result in sample_results(plan)}))


def test_the_recommended_meets_every_goal_and_is_explained() -> None:
    comparison = comparison_of(variant_seeds=(0, 1, 2))
    found = comparison.recommendation
    assert found.row is not None
    assert found.configuration is not None
    assert meets(comparison.goals[found.configuration.key])
    assert found.row.compression == "prune 0.5 + int8"
    assert recommendation_headline(comparison.table, found).startswith(f"Recommended: {found.row.id} (batch ")
    (within,) = of_kind(found.reasons, WithinGoals)
    assert [result.goal.metric for result in within.results] == ["val_accuracy", "artifact_bytes"]
    assert of_kind(found.reasons, BestObjective) or of_kind(found.reasons, AsGoodAsBest)
    (faster,) = of_kind(found.reasons, Faster)
    assert list(faster.latencies) == [1, 64]
    (train,) = of_kind(found.reasons, TrainWith)
    assert (train.source or "").startswith("linear from 0.05 at 64")
    (times,) = of_kind(found.reasons, TimesToTarget)
    assert [time.shown.training.batch_size for time in times.times] == [8, 32, 128]
    assert found.runner_up is not None
    assert found.runner_up.configuration != found.configuration
    assert found.runner_up.step is not None


@pytest.mark.parametrize("lead", [0.0, 0.002])
def test_one_as_good_as_the_best_is_called_so(lead: float) -> None:
    """By far the fastest, and all others lead by so much, less than the validation rows can tell apart."""
    plan = sample_plan(goals=())
    results = {result.id: result for result in sample_results(plan)}
    fastest, *others = make_table(plan, results).variants
    for configuration in (fastest, *others):
        value = 0.97 + (lead if configuration is not fastest else 0.0)
        for row in configuration.rows:
            metrics = results[row.id].metrics | {"val_accuracy": Estimate(value=value, low=0.95, high=0.99, n=360)}
            if configuration is fastest:
                metrics |= {name: Estimate.exact(0.1) for name in metrics if name.startswith("latency_ratio")}
            results[row.id] = results[row.id].model_copy(update={"metrics": metrics})
    found = compare(make_table(plan, results)).recommendation
    assert found.configuration is not None
    assert found.configuration.key == fastest.key
    best, equal = of_kind(found.reasons, BestObjective), of_kind(found.reasons, AsGoodAsBest)
    assert [reason.own.mean for reason in (*best, *equal)] == [0.97]
    assert [reason.best.mean for reason in equal] == ([pytest.approx(0.972)] if lead else [])


def test_the_trial_is_the_best_seed_and_says_that_it_flatters_itself() -> None:
    found = comparison_of(variant_seeds=(0, 1, 2)).recommendation
    assert found.row is not None
    assert found.configuration is not None
    assert found.row.value("val_accuracy") == max(found.configuration.values("val_accuracy").values())
    (chosen,) = of_kind(found.reasons, BestSeed)
    assert (chosen.row, chosen.value, chosen.seeds) == (found.row, found.row.value("val_accuracy"), 3)


def test_the_uncompressed_model_is_as_fast_as_itself() -> None:
    comparison = comparison_of()
    for configuration in comparison.table.variants:
        measured = speed(configuration)
        assert measured is not None
        assert measured.value < 1.03 or configuration.compression == "int8"
    (row,) = comparison.table.variants[0].rows
    assert row.result is not None
    kept = {name: value for name, value in row.result.metrics.items() if "ratio" not in name}
    bare = replace(row, result=row.result.model_copy(update={"metrics": kept}))
    assert speed(Configuration("", (bare,))) == Estimate(value=1.0, low=1.0, high=1.0)


def test_when_nothing_meets_the_goals_the_nearest_is_shown() -> None:
    goals = (Goal(metric="artifact_bytes", type="percent-min-improvement", value=95), GOALS[0])
    comparison = comparison_of(goals=goals)
    found = comparison.recommendation
    assert found.row is None
    (reason,) = of_kind(found.reasons, NoneWithinGoals)
    assert (reason.candidates, reason.all_miss) == (15, True)
    assert found.nearest is not None
    assert found.nearest_row is not None
    assert found.nearest.compression == "prune 0.5 + int8"
    assert (reason.nearest, reason.row) == (found.nearest, found.nearest_row)
    assert reason.results == found.goals
    assert recommendation_headline(comparison.table, found).startswith(
        "No recommendation: None of 15 configurations meets every"
    )


def test_without_compression_the_best_baseline_or_a_cheaper_equal_is_taken() -> None:
    comparison = comparison_of(chains=(), goals=())
    found = comparison.recommendation
    assert found.row is not None
    assert found.row.kind == "baseline"
    assert found.reasons[0] == WithinGoals(9, 9, ())
    assert comparison.pareto  # of training
    assert set(comparison.pareto) <= {row.id for row in comparison.table.rows}


def test_of_many_settings_only_the_fastest_to_the_target_are_told() -> None:
    few, many = (2**i for i in range(4, 9)), tuple(2**i for i in range(3, 10))
    for sizes, told in ((tuple(few), 5), (many, 3)):
        comparison = comparison_of(chains=(), goals=(), batch_sizes=sizes)
        (reason,) = of_kind(comparison.recommendation.reasons, TimesToTarget)
        assert [time.shown.training.batch_size for time in reason.times] == list(sizes)
        words = times_words(comparison.table, reason)
        assert words.count("; batch ") + 1 == told
        assert ("the fastest 3 of 7, each at" in words) == (told == 3)


def test_relative_goals_are_not_asked_of_baselines_and_that_is_said() -> None:
    found = comparison_of(chains=()).recommendation
    assert found.row is not None
    assert of_kind(found.caveats, GoalNotAsked) == [GoalNotAsked(goal, variants_broke=False) for goal in GOALS]


def test_levels_are_asked_of_baselines() -> None:
    goal = Goal(metric="val_accuracy", type="threshold", value=0.999)
    assert comparison_of(chains=(), goals=(goal,)).recommendation.row is None


def test_one_seed_is_called_not_determined() -> None:
    found = comparison_of(seeds=(0,), goals=()).recommendation
    assert of_kind(found.caveats, OneSeed) == [OneSeed(parent_seeds=1)]


def test_three_seeds_give_a_verdict_and_advice() -> None:
    found = comparison_of(variant_seeds=(0, 1, 2)).recommendation
    differences = [reason.difference for reason in of_kind(found.reasons, AsGoodAsBest)]
    assert [(d.verdict, d.pairs) for d in differences if d] == [(Verdict.NO_DIFFERENCE, 3)]
    (advice,) = of_kind(found.caveats, FewSeeds)
    assert advice.needed > advice.pairs == 3


def test_a_configuration_that_lost_a_seed_is_not_recommended_while_another_is_there() -> None:
    for multipliers in ((1.0, 2.0), (2.0,)):
        comparison = comparison_of(chains=(), batch_sizes=(128,), multipliers=multipliers, goals=())
        found = comparison.recommendation
        assert found.configuration is not None
        if len(multipliers) == 2:
            assert not found.configuration.broken
        else:
            assert [caveat.row.status for caveat in of_kind(found.caveats, SeedBroke)] == ["diverged"]


def test_an_unfinished_sweep_says_so() -> None:
    plan = sample_plan()
    results = {result.id: result for result in sample_results(plan)}
    missing = plan.trials[-1].id
    found = compare(make_table(plan, {k: r for k, r in results.items() if k != missing})).recommendation
    assert found.caveats[0] == Unfinished(1, 42)


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.OUT_OF_MEMORY, Status.FAILED])
def test_when_nothing_ran_to_its_end_that_is_the_answer(status: Status) -> None:
    plan = sample_plan(chains=(), seeds=(0,))
    results = {r.id: r.model_copy(update={"status": status, "metrics": {}}) for r in sample_results(plan)}
    found = compare(make_table(plan, results)).recommendation
    assert found.row is None
    assert found.reasons == (NoneMeasured(((status.value, 9),)),)


def test_before_anything_ended_there_is_nothing_to_say() -> None:
    assert compare(make_table(sample_plan(), {})).recommendation.reasons == (NothingEnded(),)


@pytest.mark.parametrize("chains", [CHAINS, ()], ids=["variants", "baselines"])
@pytest.mark.parametrize("changes", [{"device": "another machine"}, {"cpu": "another machine"}], ids=["gpu", "cpu"])
def test_figures_of_different_machines_are_pointed_out(chains: object, changes: dict[str, str]) -> None:
    plan = sample_plan(chains=chains)
    results = {result.id: result for result in sample_results(plan)}
    last = results[plan.trials[-1].id]
    assert of_kind(compare(make_table(plan, results)).recommendation.caveats, SeveralMachines) == []
    if chains:  # whose figures were taken by a measuring process
        changes = {key.replace("device", "measure_device"): value for key, value in changes.items()}
    results[last.id] = last.model_copy(update={"environment": last.environment | changes})
    caveats = compare(make_table(plan, results)).recommendation.caveats
    assert of_kind(caveats, SeveralMachines) == [SeveralMachines(("a processor", "another machine"))]


def test_warnings_of_the_recommended_trial_are_passed_on() -> None:
    first = comparison_of().recommendation
    assert first.row is not None
    plan = sample_plan()
    results = {result.id: result for result in sample_results(plan)}
    results[first.row.id] = results[first.row.id].model_copy(update={"warnings": ("It is neither.",)})
    assert TrialWarns("It is neither.") in compare(make_table(plan, results)).recommendation.caveats


def test_the_order_of_the_plan_does_not_change_the_answer() -> None:
    plan = sample_plan()
    results = {result.id: result for result in sample_results(plan)}
    backwards = plan.model_copy(update={"trials": tuple(reversed(plan.trials))})
    first, second = (compare(make_table(p, results)) for p in (plan, backwards))
    assert first.recommendation.row is not None
    assert second.recommendation.row is not None
    assert first.recommendation.row.id == second.recommendation.row.id
    assert set(first.pareto) == set(second.pareto)


def test_no_configuration_on_the_front_is_poorer_in_everything() -> None:
    comparison = comparison_of(variant_seeds=(0, 1, 2))
    metrics = ("artifact_bytes", "latency_p50_ms_batch_1", "latency_p50_ms_batch_64")
    for member in [c for c in comparison.table.variants if c.key in comparison.front]:
        for other in comparison.table.variants:
            costs = [(c.summary(m).mean for m in metrics) for c in (other, member)]  # type: ignore[union-attr]
            cheaper = all(a < b / 1.05 for a, b in zip(*costs, strict=True))
            better = other.summary("val_accuracy").mean >= member.summary("val_accuracy").mean  # type: ignore[union-attr]
            assert not (cheaper and better)


# -- the test data ----------------------------------------------------------------------------------------------------


def test_a_reading_counts_only_for_the_trial_it_was_taken_of(tmp_path: object) -> None:
    storage = Storage(str(tmp_path))
    assert load_test_reading(storage, "sample") is None
    reading = TestReading(trial="abc", metrics={"test_accuracy": Estimate(value=0.96)})
    save_test_reading(storage, "sample", reading)
    assert load_test_reading(storage, "sample") == reading
    plan = sample_plan()
    table = make_table(plan, {result.id: result for result in sample_results(plan)})
    assert compare(table, reading).test_of_recommended is None
    recommended = compare(table).recommendation.row
    assert recommended is not None
    mine = reading.model_copy(update={"trial": recommended.id})
    assert compare(table, mine).test_of_recommended == mine


def changed(table_options: dict[str, object], change: object) -> SweepComparison:
    """The sample with every result passed through `change`."""
    plan = sample_plan(**table_options)  # type: ignore[arg-type]
    return compare(make_table(plan, {result.id: change(result) for result in sample_results(plan)}))  # type: ignore[operator]


def lost(result: TrialResult) -> TrialResult:
    return result.model_copy(update={"status": Status.DIVERGED, "metrics": {}, "files": {}})


@pytest.mark.parametrize("seeds", [(1, 2), (0, 1, 2)])
def test_a_variant_whose_parent_lost_a_seed_is_not_best_by_those_that_survived(seeds: tuple[int, ...]) -> None:
    """At batch 32 the mean is far above all others: the last seed diverged before it could be compressed."""

    def flattered(result: TrialResult) -> TrialResult:
        training = result.config.training  # type: ignore[union-attr]
        if training.batch_size != 32 or result.status is not Status.COMPLETED:
            return result
        if training.seed == 2:
            return lost(result)
        return result.model_copy(
            update={"metrics": result.metrics | {"val_accuracy": Estimate(value=0.999, low=0.99, high=1.0, n=360)}}
        )

    plan = sample_plan(goals=(), seeds=seeds, variant_seeds=seeds)
    results = {r.id: flattered(r) for r in sample_results(plan)}
    kept = tuple(
        trial
        for trial in plan.trials
        if trial.config.kind == "baseline" or results[trial.id].status is not Status.DIVERGED
    )
    found = compare(make_table(plan.model_copy(update={"trials": kept}), results)).recommendation
    assert found.configuration is not None
    assert found.configuration.training.batch_size != 32
    (reason,) = of_kind(found.reasons, SetAside)
    aside = {c.configuration.training.batch_size: (c.lost, c.seeds, c.statuses) for c in reason.configurations}
    assert aside[32] == (1, len(seeds), ("diverged",))


def test_the_only_other_that_lost_a_seed_is_the_runner_up_for_that_reason() -> None:
    def one_diverged(result: TrialResult) -> TrialResult:
        training = result.config.training  # type: ignore[union-attr]
        return lost(result) if (training.batch_size, training.seed) == (32, 2) else result

    options = {"chains": (), "goals": (), "batch_sizes": (8, 32), "multipliers": (1.0,)}
    found = changed(options, one_diverged).recommendation
    assert found.runner_up is not None
    assert found.runner_up.step is None
    assert found.runner_up.loss == LostSeeds(found.runner_up.configuration, 1, 3, ("diverged",))


def test_what_has_no_finite_figure_is_named_and_takes_no_part() -> None:
    def unknown(result: TrialResult) -> TrialResult:
        training = result.config.training  # type: ignore[union-attr]
        if (training.batch_size, training.seed) != (32, 1):
            return result
        return result.model_copy(update={"metrics": result.metrics | {"val_accuracy": Estimate(value=float("nan"))}})

    options = {"chains": (), "goals": (), "batch_sizes": (8, 32), "multipliers": (1.0,)}
    comparison = changed(options, unknown)
    (row,) = (r for r in comparison.table.rows if (r.config.training.batch_size, r.seed) == (32, 1))
    assert of_kind(comparison.recommendation.caveats, NoFiniteFigure) == [NoFiniteFigure((row.id,))]


def test_a_training_that_the_rule_prefers_and_that_was_not_compressed_is_named() -> None:
    """All trainings are equally good; the parents that were compressed are those of batch 8, the slowest."""

    def alike(result: TrialResult) -> TrialResult:
        if "val_accuracy" not in result.metrics:
            return result
        return result.model_copy(
            update={"metrics": result.metrics | {"val_accuracy": Estimate(value=0.96, low=0.94, high=0.98, n=360)}}
        )

    plan = sample_plan(goals=(), target=None, multipliers=(1.0,), seeds=(0,))
    results = {result.id: alike(result) for result in sample_results(plan)}
    kept = tuple(t for t in plan.trials if t.config.kind == "baseline" or t.config.training.batch_size == 8)
    found = compare(make_table(plan.model_copy(update={"trials": kept}), results)).recommendation
    assert found.configuration is not None
    assert found.configuration.training.batch_size == 8
    (caveat,) = of_kind(found.caveats, BetterTraining)
    assert (caveat.best.training.batch_size, caveat.parent.training.batch_size) == (128, 8)


def test_goals_that_no_variant_could_be_asked_say_why() -> None:
    found = changed({}, lambda r: lost(r) if r.config.kind == "variant" else r).recommendation
    assert of_kind(found.caveats, GoalNotAsked) == [GoalNotAsked(goal, variants_broke=True) for goal in GOALS]


def test_what_is_slower_within_the_noise_counts_as_fast() -> None:
    """int8 is 10 % slower than the uncompressed model; or seems so, by an interval from half to twice."""
    told = []
    for half in (0.001, 0.5):

        def slower(result: TrialResult, half: float = half) -> TrialResult:
            ratios = {
                name: Estimate(value=value, low=value - half, high=value + half)
                for name in result.metrics
                if name.startswith("latency_ratio")
                for value in [1.1 if result.config.kind == "variant" and result.config.chain else 1.0]
            }
            figures = {"val_accuracy": Estimate(value=0.96, low=0.94, high=0.98, n=360), **ratios}
            known = {name: value for name, value in figures.items() if name in result.metrics}
            return result.model_copy(update={"metrics": result.metrics | known})

        options = {"goals": (), "chains": CHAINS[:2], "batch_sizes": (32,), "multipliers": (1.0,)}
        found = changed(options, slower).recommendation
        assert found.runner_up is not None
        told.append((found.configuration.compression if found.configuration else "", found.runner_up.loss))
    (first, slower_by), (second, larger_by) = told
    assert (first, second) == ("uncompressed", "int8")
    assert isinstance(slower_by, SlowerModel)
    assert [ratio.mean for ratio in slower_by.latencies.values()] == [1.1, 1.1]
    assert isinstance(larger_by, LargerModel)


@pytest.mark.parametrize("target", [0.95, None])
def test_the_same_results_on_another_day_give_the_same_recommendation(target: float | None) -> None:
    """Of bit-identical histories only the clock differs, by up to 30 % for every run."""
    plan = sample_plan(chains=(), goals=(), target=target)
    results = {result.id: result for result in sample_results(plan)}
    found = set()
    for day in range(25):
        draw = np.random.default_rng(day)
        timed = {id: on_another_day(result, float(draw.uniform(0.7, 1.3))) for id, result in results.items()}
        row = recommend(Evidence(make_table(plan, timed))).row
        found.add(row.id if row else None)
    assert len(found) == 1


def on_another_day(result: TrialResult, slower: float) -> TrialResult:
    history = tuple(report.model_copy(update={"seconds": report.seconds * slower}) for report in result.history)
    took = result.metrics.get("train_seconds")
    metrics = result.metrics | ({"train_seconds": Estimate.exact(took.value * slower)} if took else {})
    return result.model_copy(update={"history": history, "metrics": metrics})
