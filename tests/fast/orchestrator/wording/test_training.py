"""The time to the target is told of the rate that gets there soonest, with the figures that the tables have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.analysis.comparison import SweepComparison, compare
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.reasons import TimesToTarget
from orchestrator.analysis.table import make_table
from orchestrator.planning.expand import expand
from orchestrator.report.columns import training_columns
from orchestrator.report.terminal import trainings
from orchestrator.wording.training import times_words
from tests.support.sample_sweep import of_kind, sample_plan
from tests.support.simulated import Law, play, sweep_of
from trainables.config.training import Training
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult


def rising(steps: float, end: float = 0.96, every: int = 10) -> tuple[Report, ...]:
    """At the target of 0.95 after `steps`, read every so many of 400 steps; `end` is the last reading's."""
    values = {step: 0.95 * step / steps for step in range(every, 401, every)} | {400: end}
    return tuple(
        Report(step=step, examples=8 * step, seconds=step / 100, metrics={"val_accuracy": value})
        for step, value in values.items()
    )


def trained(history: Callable[[Training], Sequence[Report]], **options: object) -> SweepComparison:
    plan = sample_plan(chains=(), goals=(), **options)  # type: ignore[arg-type]
    results = {}
    for trial in plan.trials:
        readings = tuple(history(trial.config.training))  # type: ignore[union-attr]
        results[trial.id] = TrialResult(
            id=trial.id,
            config=trial.config,
            status=Status.COMPLETED,
            history=readings,
            metrics={"val_accuracy": Estimate(value=readings[-1].metrics["val_accuracy"])},
        )
    return compare(make_table(plan, results))


def times(comparison: SweepComparison) -> str:
    (reason,) = of_kind(comparison.recommendation.reasons, TimesToTarget)
    return times_words(comparison.table, reason)


def test_the_rate_is_the_one_that_is_there_soonest_and_not_the_one_that_ends_best() -> None:
    def history(training: Training) -> Sequence[Report]:
        return rising(95, 0.99) if training.learning_rate == 0.00625 else rising(25)

    comparison = trained(history, batch_sizes=(8,), multipliers=(1.0, 2.0), seeds=(0,))
    assert times(comparison) == (
        "To val_accuracy 0.95, each at its learning rate with the fewest steps: batch 8 at rate 0.0125: 25 steps, "
        "200 examples, 0.250 s."
    )
    (row,) = comparison.targets
    assert row.steps.mean == 25
    steps = next(column for column in training_columns(comparison) if column.title.startswith("steps"))
    assert steps.cell(trainings(comparison)[0]) == "95"  # at the other rate: the sentence names its own


def test_with_one_rate_at_each_size_none_is_named() -> None:
    def history(training: Training) -> Sequence[Report]:
        if training.batch_size == 128:
            return rising(4000, 0.9)
        return rising(40, every=50) if training.batch_size == 32 else rising(40 if training.seed else 4000, 0.94)

    assert times(trained(history, multipliers=(1.0,), seeds=(0, 1))) == (
        "To val_accuracy 0.95, each at its learning rate: batch 8: 40 steps, 320 examples, 0.400 s (only 1 of 2 "
        "seeds); batch 32: at most 50 steps, 400 examples, 0.500 s; batch 128: not reached."
    )


def test_where_the_batch_size_was_to_be_found_what_was_only_confirmed_is_called_so(tmp_path: Path) -> None:
    plan = expand(sweep_of(tmp_path))
    trials, results = play(plan, Law())
    comparison = compare(make_table(stored_plan(plan, trials.values()), results))
    assert comparison.batch is not None
    words = times(comparison)
    assert ", before the confirmation: " in words
    for row in comparison.targets:
        assert (
            f"batch {row.batch_size} at rate {row.configuration.training.learning_rate:.4g}: {row.steps.mean:,.0f} st"
            in words
        )
    fitted = {row.batch_size for row in comparison.targets}
    for contender in comparison.batch.contenders:
        if contender.batch_size not in fitted:
            rate = f"{contender.configuration.training.learning_rate:.4g}"
            own = f"batch {contender.batch_size} at rate {rate} (from the confirmation): {contender.steps.mean:,.0f} st"
            assert own in words
