"""Steps, examples, seconds and cost to the target, and the critical batch of a table whatever the order of its rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from rich.text import Text

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.critical_batch import TooFewSizes
from orchestrator.analysis.table import SweepTable, make_table
from orchestrator.analysis.target_crossing import crossing
from orchestrator.analysis.time_to_target import critical_batch, middle_rate, steps_to_target
from orchestrator.report.batch_export import batch_dict
from orchestrator.report.batch_section import batch_lines
from orchestrator.wording.batch_size import choice_words
from orchestrator.wording.not_determined import why_no_curve
from tests.support.sample_sweep import sample_plan, sample_results
from trainables.config.optimizers import AdamW
from trainables.config.training import Training
from trainables.results import Report, Status, TrialResult


def history(*values: float) -> tuple[Report, ...]:
    """A reading every 10 steps of 8 examples, 1 s each."""
    return tuple(
        Report(step=10 * i, examples=80 * i, seconds=10.0 * i, metrics={"val_accuracy": value})
        for i, value in enumerate(values, start=1)
    )


def table_of(**options: object) -> SweepTable:
    plan = sample_plan(**options)  # type: ignore[arg-type]
    return make_table(plan, {result.id: result for result in sample_results(plan)})


def reaching(steps: float, *, every: int = 10) -> tuple[Report, ...]:
    """A run that is at the target of 0.95 after `steps`, read every so many of at most 400 steps."""
    return tuple(
        Report(step=step, examples=8 * step, seconds=step, metrics={"val_accuracy": 0.95 * step / steps})
        for step in range(every, 401, every)
    )


def table_with(run: Callable[[Training], tuple[Status, Sequence[Report]]], **options: object) -> SweepTable:
    """The sample's baselines, each ended as `run` says of it."""
    plan = sample_plan(chains=(), **options)  # type: ignore[arg-type]
    results = {}
    for trial in plan.trials:
        status, readings = run(trial.config.training)  # type: ignore[union-attr]
        results[trial.id] = TrialResult(id=trial.id, config=trial.config, status=status, history=tuple(readings))
    return make_table(plan, results)


def multiplier(training: Training) -> float:
    return round(training.learning_rate * 64 / training.batch_size / 0.05, 6)


def test_the_crossing_lies_between_the_readings_around_it() -> None:
    found = crossing(history(0.5, 0.7, 0.9, 0.6), "val_accuracy", "max", 0.75)
    assert found is not None
    assert (found.steps, found.examples, found.seconds) == pytest.approx((22.5, 180.0, 22.5))
    assert not found.is_bound
    assert crossing(history(0.9, 0.5), "val_accuracy", "min", 0.7).steps == pytest.approx(15)  # type: ignore[union-attr]
    exactly = crossing(history(0.5, 0.75, 0.9), "val_accuracy", "max", 0.75)
    assert exactly is not None
    assert exactly.steps == 20


def test_a_first_reading_that_is_there_already_is_a_bound() -> None:
    found = crossing(history(0.8, 0.9), "val_accuracy", "max", 0.75)
    assert found is not None
    assert (found.steps, found.is_bound) == (10, True)


def test_what_is_no_number_reaches_nothing() -> None:
    assert crossing(history(0.1, float("nan"), 0.2), "val_accuracy", "max", 0.75) is None
    assert crossing((), "val_accuracy", "max", 0.75) is None
    after = crossing(history(0.1, float("nan"), 0.8), "val_accuracy", "max", 0.75)
    assert after is not None
    assert after.is_bound  # nothing is known of the reading before


def test_examples_seconds_and_cost_follow_from_the_steps() -> None:
    rows = steps_to_target(table_of())
    assert [row.batch_size for row in rows] == [8, 32, 128]
    for row in rows:
        assert row.examples.mean == pytest.approx(row.batch_size * row.steps.mean)
        assert row.seconds.mean == pytest.approx(row.steps.mean * (0.002 + 0.00002 * row.batch_size))
        assert row.worker_seconds.mean == row.seconds.mean * row.num_workers
        assert row.seeds == len(row.crossings) == 3
    steps = [row.steps.mean for row in rows]
    assert steps == sorted(steps, reverse=True)


def test_the_sample_has_its_critical_batch_whatever_the_order_of_rows() -> None:
    """Steps follow 80 (1 + 64/B), read off ten noisy readings a run; the best of three rates is partly luck."""
    table = table_of(batch_sizes=(8, 16, 32, 64, 128), seeds=tuple(range(6)))
    rows = steps_to_target(table)
    curve = critical_batch(rows)
    assert curve.undetermined is None
    assert curve.batch_size == pytest.approx(64, rel=0.5)
    shuffled = rows.copy()
    random.Random(1).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    assert critical_batch(shuffled) == curve


def test_too_few_batch_sizes_are_not_determined_and_say_why() -> None:
    data = batch_dict(compare(table_of(batch_sizes=(8, 32))))
    (curve,) = data["critical_batch"]
    assert curve["batch_size"] is None
    assert "2 batch sizes" in curve["not_determined"]
    assert data["batch_size"] is None


def test_a_size_that_is_there_at_its_first_reading_has_no_part_in_the_critical_batch() -> None:
    def run(training: Training) -> tuple[Status, Sequence[Report]]:
        size = training.batch_size
        return Status.COMPLETED, reaching(20 * (1 + 32 / size), every=200 if size == 4 else 10)

    rows = steps_to_target(table_with(run, batch_sizes=(4, 8, 32, 128), multipliers=(1.0,)))
    assert [(row.batch_size, row.is_bound) for row in rows] == [(4, True), (8, False), (32, False), (128, False)]
    assert critical_batch(rows).batch_size == pytest.approx(32, rel=1e-3)


def test_first_readings_alone_determine_no_critical_batch() -> None:
    """After equal examples their steps are 1/B to the last digit, whatever the truth is."""

    def run(training: Training) -> tuple[Status, Sequence[Report]]:
        return Status.COMPLETED, reaching(1, every=400 // training.batch_size)

    rows = steps_to_target(table_with(run, batch_sizes=(1, 4, 16, 64), multipliers=(1.0,)))
    assert [row.steps.mean for row in rows] == [400, 100, 25, 6]
    reason = critical_batch(rows).undetermined
    assert reason == TooFewSizes(0, (1, 4, 16, 64))
    words = why_no_curve(reason) or ""
    assert "batch size 1, 4, 16 and 64 had reached the target at the first evaluation" in words
    assert "`evaluations`" in words
    assert critical_batch(rows[:2]).undetermined == TooFewSizes(0, (1, 4))


def test_three_sizes_of_which_two_were_there_have_asked_for_the_critical_batch() -> None:
    def run(training: Training) -> tuple[Status, Sequence[Report]]:
        return Status.COMPLETED, reaching(500 if training.batch_size == 128 else 100)

    (line,) = batch_lines(compare(table_with(run, multipliers=(1.0,))))
    assert isinstance(line, Text)
    assert "2 batch sizes reached the target; three, well spread, are needed" in line.plain
    assert batch_lines(compare(table_with(run, multipliers=(1.0,), batch_sizes=(8, 128)))) == []


@pytest.mark.parametrize(
    ("tied", "tried", "middle"),
    [
        ([4], [1, 2, 4], 4),
        ([4, 1, 2], [1, 2, 4], 2),
        ([1, 2], [1, 2, 4], 2),
        ([2, 4], [1, 2, 4], 2),
        ([1, 2, 4, 8], [1, 2, 4, 8], 2),
        ([4, 8, 16], [1, 2, 4, 8, 16], 8),
    ],
)
def test_of_rates_that_tie_the_middle_one_is_taken(tied: list[float], tried: list[float], middle: float) -> None:
    assert middle_rate(tied, tried) == middle


def test_no_edge_is_seen_where_every_rate_is_there_at_the_first_reading() -> None:
    table = table_with(lambda training: (Status.COMPLETED, reaching(1)))
    assert [(multiplier(row.configuration.training), row.edge) for row in steps_to_target(table)] == [(1.0, None)] * 3


def test_a_trial_that_was_stopped_before_the_target_is_not_there() -> None:
    """A rate that is fast with one seed of two comes after one that is slower with both."""

    def run(training: Training) -> tuple[Status, Sequence[Report]]:
        if multiplier(training) == 1.0:
            return Status.COMPLETED, reaching(40)
        return (Status.COMPLETED, reaching(20)) if training.seed == 0 else (Status.STOPPED_EARLY, reaching(20)[:1])

    for row in steps_to_target(table_with(run, multipliers=(1.0, 2.0), seeds=(0, 1))):
        assert (multiplier(row.configuration.training), len(row.crossings), row.seeds) == (1.0, 2, 2)
    for row in steps_to_target(table_with(run, multipliers=(2.0,), seeds=(0, 1))):
        assert (len(row.crossings), row.seeds) == (1, 2)


def test_a_trial_that_was_stopped_after_the_target_is_there() -> None:
    """As those of `batch_size: auto` are whose batch size another rate has answered for."""

    def run(training: Training) -> tuple[Status, Sequence[Report]]:
        if multiplier(training) == 1.0:
            return Status.COMPLETED, reaching(40)
        return Status.STOPPED_EARLY, reaching(60)[:6]

    for row in steps_to_target(table_with(run, multipliers=(1.0, 2.0), seeds=(0,))):
        assert (multiplier(row.configuration.training), row.seeds) == (1.0, 1)
    for row in steps_to_target(table_with(run, multipliers=(2.0,), seeds=(0,))):
        assert (row.steps.mean, len(row.crossings), row.seeds) == (60, 1, 1)


def test_the_best_rate_at_an_end_is_flagged() -> None:
    inside = steps_to_target(table_of(seeds=tuple(range(8))))
    assert {row.edge for row in inside} == {None}
    at_the_end = steps_to_target(table_of(multipliers=(1.0, 4.0), seeds=tuple(range(8))))
    assert {row.edge for row in at_the_end} == {"lowest"}
    assert {row.edge for row in steps_to_target(table_of(multipliers=(1.0,)))} == {None}


def test_a_rate_that_lost_a_seed_comes_after_one_that_did_not() -> None:
    table = table_of(multipliers=(1.0, 2.0))
    broken = {row.id for c in table.baselines for row in c.broken}
    assert broken
    for row in steps_to_target(table):
        assert not {r.id for r in row.configuration.rows} & broken


def test_without_a_target_there_are_no_rows() -> None:
    assert steps_to_target(table_of(target=None)) == []
    assert steps_to_target(table_of(target=2.0)) == []
    plan = sample_plan()
    failed = [r.model_copy(update={"status": Status.FAILED}) for r in sample_results(plan)]
    assert steps_to_target(make_table(plan, {r.id: r for r in failed})) == []


def test_what_is_carried_with_the_batch_size_does_not_split_the_curve() -> None:
    """Another beta2 at every batch size is part of the rule, and no setting that the sweep varies."""
    plan = sample_plan(batch_sizes=(8, 16, 32, 64, 128), chains=())
    results = {result.id: result for result in sample_results(plan)}
    trials = []
    for trial in plan.trials:
        assert trial.config.kind == "baseline"
        training = trial.config.training
        optimizer = AdamW(beta2=0.999 ** (training.batch_size / 64))
        config = trial.config.model_copy(update={"training": training.model_copy(update={"optimizer": optimizer})})
        trials.append(trial.model_copy(update={"config": config}))
    table = make_table(plan.model_copy(update={"trials": tuple(trials)}), results)
    assert table.settings == ()
    (choice,) = compare(table).curves
    assert choice.settings == ()
    assert choice_words(table, choice) == ""
    assert len(steps_to_target(table)) == 5


def test_a_size_that_only_some_seeds_reached_has_no_part_in_the_critical_batch_and_that_is_said() -> None:
    """Steps follow 20 (1 + 32/B); at 512 the two seeds that got there were lucky."""

    def run(training: Training) -> tuple[Status, Sequence[Report]]:
        lucky = training.batch_size == 512 and training.seed < 2
        unlucky = training.batch_size == 512 and training.seed == 2
        steps = 20 * (1 + 32 / training.batch_size)
        return Status.COMPLETED, reaching(900 if unlucky else steps / 2 if lucky else steps)

    comparison = compare(table_with(run, batch_sizes=(4, 8, 32, 128, 512), multipliers=(1.0,)))
    (row,) = (row for row in comparison.targets if row.batch_size == 512)
    assert (len(row.crossings), row.seeds, row.is_whole) == (2, 3, False)
    (curve,) = comparison.curves.values()
    assert curve.batch_size == pytest.approx(32, rel=1e-3)
    text = "\n".join(str(line) for line in batch_lines(comparison))
    assert "Only one learning rate was tried at each batch size" in text
    assert "At batch size 512, 2 of 3 seeds reached the target. The fit of the critical batch size leaves" in text
