"""A machine that is slow while one model is measured changes nothing that is said about the models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from orchestrator.analysis.caveats import NoisyLatencies
from orchestrator.analysis.comparison import compare
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.goals import GoalVerdict
from orchestrator.analysis.latencies import NotQuiet, latencies_ms, latency_batches, latency_ratio, not_quiet
from orchestrator.analysis.reasons import Faster, NoneWithinGoals
from orchestrator.analysis.table import SweepTable, make_table
from orchestrator.commands.compare import comparison_text
from orchestrator.report.columns import goal_symbols, variant_columns
from orchestrator.report.plots.deployment import deployment_plots
from orchestrator.report.terminal import warnings
from orchestrator.sweep.spec import Goal
from orchestrator.wording.caveats import caveat_sentences
from orchestrator.wording.goals import why_not_judged
from tests.support.sample_sweep import CHAINS, GOALS, of_kind, sample_plan, sample_results
from trainables.compression.compress import variant_warnings
from trainables.config.compression import Prune
from trainables.config.trial import MeasureSettings
from trainables.estimate import Estimate

Metrics = dict[str, Estimate]


def sample(change: Callable[[Metrics], Metrics] = dict, of: Sequence[int] | None = None) -> SweepTable:
    """The sample sweep; `change` is made to the figures of the variants of some numbers, or of all."""
    plan = sample_plan(variant_seeds=(0, 1))
    table = make_table(plan, results := {result.id: result for result in sample_results(plan)})
    for configuration in table.variants if of is None else [table.variants[number] for number in of]:
        for row in configuration.rows:
            metrics = change(dict(results[row.id].metrics))
            results[row.id] = results[row.id].model_copy(update={"metrics": metrics})
    return make_table(plan, results)


def in_a_slow_minute(metrics: Metrics) -> Metrics:
    """Its own time and its parent's beside it are longer; their ratio is not."""
    slow = {name: Estimate.exact(1.7 * took.value) for name, took in metrics.items() if "latency_p" in name}
    return metrics | slow


@pytest.mark.parametrize("number", range(len(CHAINS)))
def test_one_slow_minute_changes_neither_front_nor_table_nor_plots(number: int) -> None:
    usual, slowed = sample(), sample(in_a_slow_minute, of=[number])
    assert (at_1 := slowed.variants[number].summary("latency_p50_ms_batch_1")) is not None
    assert at_1 != usual.variants[number].summary("latency_p50_ms_batch_1")
    assert Evidence(slowed).front == Evidence(usual).front
    assert comparison_text(compare(slowed), details=True) == comparison_text(compare(usual), details=True)
    assert [plot.figure for plot in deployment_plots(compare(slowed))] == [
        plot.figure for plot in deployment_plots(compare(usual))
    ]


def test_a_slow_spell_over_all_variants_of_one_parent_is_told_by_the_other_parents() -> None:
    """Three parents of one network; what was measured one after another are the variants of one of them."""
    usual = sample()
    parents = [usual.parent_of(variant).key for variant in usual.variants]
    assert len(set(parents)) == 3
    slow = [number for number, parent in enumerate(parents) if parent == parents[0]]
    slowed = sample(in_a_slow_minute, of=slow)
    assert latencies_ms(slowed, 64) == latencies_ms(usual, 64)


def test_a_machine_that_was_slow_throughout_is_reported_as_slow() -> None:
    usual, slowed = sample(), sample(in_a_slow_minute)
    for batch in (1, 64):
        before, after = latencies_ms(usual, batch), latencies_ms(slowed, batch)
        for key, took in after.items():
            assert took.mean == pytest.approx(1.7 * before[key].mean)


def test_the_interval_is_that_of_the_ratio() -> None:
    table = sample()
    for variant in table.variants:
        ratio, took = latency_ratio(variant, 64), latencies_ms(table, 64)[variant.key]
        assert ratio is not None
        assert ratio.low is not None
        assert took.low is not None
        assert took.low / took.mean == pytest.approx(ratio.low / ratio.mean)
        assert took.basis is ratio.basis


@pytest.mark.parametrize("missing", ["latency_ratio_batch_", "reference_latency_"])
def test_without_a_parent_beside_it_a_latency_is_what_was_measured(missing: str) -> None:
    table = sample(lambda metrics: {name: took for name, took in metrics.items() if not name.startswith(missing)})
    for batch in latency_batches(table.variants):
        measured = {c.key: c.summary(f"latency_p50_ms_batch_{batch}") for c in table.variants}
        assert latencies_ms(table, batch) == measured


def test_what_was_not_measured_has_no_latency() -> None:
    table = sample(lambda metrics: {name: took for name, took in metrics.items() if "latency" not in name})
    assert latency_batches(table.variants) == []
    assert latencies_ms(table, 1) == {}


def with_control(value: float, half: float, goals: tuple[Goal, ...] = GOALS, *, every: bool = False) -> SweepTable:
    """A sweep of which one measuring, or every one, was disturbed by so much."""
    plan = sample_plan(goals=goals)
    results = {result.id: result for result in sample_results(plan)}
    control = Estimate(value=value, low=value - half, high=value + half, n=20)
    measured = [result for result in results.values() if result.kind == "variant"]
    for result in measured if every else measured[:1]:
        metrics = result.metrics | {"control_latency_ratio_batch_64": control}
        results[result.id] = result.model_copy(update={"metrics": metrics})
    return make_table(plan, results)


@pytest.mark.parametrize(("value", "half"), [(0.63, 0.02), (1.06, 0.01), (1.0, 0.2)])
def test_a_parent_that_is_not_as_fast_as_itself_makes_latencies_unusable(value: float, half: float) -> None:
    table = with_control(value, half)
    (found,) = not_quiet(table)
    assert (found.batch, found.control.value) == (64, value)
    comparison = compare(table)
    assert of_kind(comparison.recommendation.reasons, Faster) == []
    (caveat,) = of_kind(comparison.recommendation.caveats, NoisyLatencies)
    assert caveat == NoisyLatencies(found, 1, goals_undetermined=False)
    (said,) = caveat_sentences(comparison.table, caveat)
    assert f"at batch 64, measured with {found.trial}" in said.whole
    assert said.whole in warnings(comparison), "it stands under the table too"
    titles = [column.title for column in variant_columns(comparison)]
    assert [title for title in titles if "ms at" in title] == ["ms at 1?", "ms at 64?"]


def test_a_quiet_control_changes_nothing() -> None:
    table = with_control(0.98, 0.03)
    assert not_quiet(table) == ()
    comparison = compare(table)
    assert of_kind(comparison.recommendation.reasons, Faster)
    assert of_kind(comparison.recommendation.caveats, NoisyLatencies) == []


LATENCY_GOAL = Goal(metric="latency_p50_ms_batch_64", type="percent-min-improvement", value=5)


def test_where_no_latency_is_usable_a_goal_on_it_lets_nothing_through_and_fails_nothing() -> None:
    comparison = compare(with_control(0.63, 0.02, (LATENCY_GOAL,), every=True))
    assert {row.status for c in comparison.table.variants for row in c.rows} == {"completed"}, "none misses the goal"
    found = comparison.recommendation
    assert found.row is None
    (reason,) = of_kind(found.reasons, NoneWithinGoals)
    assert not reason.all_miss
    (result,) = reason.results
    assert result.verdict is GoalVerdict.NOT_DETERMINED
    assert isinstance(result.reason, NotQuiet)
    assert result.reason.control.value == 0.63
    assert why_not_judged(result.reason).startswith(
        "the machine was not quiet: the control (the parent's latency over itself) was"
    )
    (caveat,) = of_kind(found.caveats, NoisyLatencies)
    assert caveat.goals_undetermined
    (goals,) = {goal_symbols(results) for results in comparison.goals.values()}
    assert goals == "?"


def test_one_disturbed_measuring_leaves_the_goals_of_the_others_judged() -> None:
    comparison = compare(with_control(0.63, 0.02, (LATENCY_GOAL,)))
    told = Counter(goal_symbols(results)[0] for results in comparison.goals.values())
    assert told["?"] == 1
    assert told["✓"] > 0
    assert comparison.recommendation.row is not None


@pytest.mark.parametrize(
    ("size", "ratio", "control", "words"),
    [
        (1.0, 0.5, 1.0, None),
        (1.0, 0.5, 0.63, "not smaller than its parent (1.00 times its bytes); whether it is faster is unknown"),
        (1.0, 1.1, 0.63, "as the control (the parent's latency over itself) was 0.63 at batch 1, not 1"),
        (1.0, 1.1, 1.0, "neither smaller than its parent nor, beyond the noise, faster: 1.00 times its bytes, 1.10"),
        (0.5, 1.1, 0.63, None),
    ],
)
def test_a_variant_is_called_no_faster_only_by_latencies_that_are_usable(
    size: float, ratio: float, control: float, words: str | None
) -> None:
    trial = next(trial for trial in sample_plan(chains=((Prune(ratio=0.5),),)).trials if trial.config.kind == "variant")
    assert trial.config.kind == "variant"
    config = trial.config.model_copy(update={"measure": MeasureSettings(batch_sizes=(1, 1))})
    figures = {"artifact_bytes": size, "reference_artifact_bytes": 1.0, "latency_ratio_batch_1": ratio}
    metrics = {name: Estimate(value=value) for name, value in figures.items()}
    told = variant_warnings(config, metrics | {"control_latency_ratio_batch_1": Estimate(value=control)})
    assert [words in warning for warning in told if words] == ([] if words is None else [True])
    assert bool(told) == (words is not None)
