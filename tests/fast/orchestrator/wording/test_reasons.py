"""The reasons of a recommendation say no more than what decided, and of which trials their figures are."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from orchestrator.analysis.comparison import SweepComparison, compare
from orchestrator.analysis.effort import Effort
from orchestrator.analysis.reasons import BestObjective, BestSeed, FasterTraining, FewestSteps, TieBroken
from orchestrator.analysis.runner_up import LostTie, MoreTraining, loss_by_rule
from orchestrator.analysis.selection_rule import Candidate, Step, Tie, choose
from orchestrator.analysis.statistics import Verdict, corrected, paired_difference
from orchestrator.analysis.table import make_table
from orchestrator.sweep.spec import Goal
from orchestrator.wording.reasons import difference_words, reason_sentences
from tests.support.sample_sweep import of_kind, sample_plan, sample_results
from trainables.estimate import Estimate

ALIKE: dict[int, float] = {}


def trained(seconds: dict[int, float], accuracy: Mapping[int, float] = ALIKE, **options: object) -> SweepComparison:
    """Baselines with the same figures for every seed, by batch size; `seconds`: of training, to its end."""
    options = {"chains": (), "goals": (), "target": None, "multipliers": (1.0,)} | options
    plan = sample_plan(batch_sizes=tuple(seconds), **options)  # type: ignore[arg-type]
    results = {}
    for result in sample_results(plan):
        size = result.config.training.batch_size  # type: ignore[union-attr]
        value, took = accuracy.get(size, 0.96), Estimate.exact(seconds[size])
        figures = {"val_accuracy": Estimate(value=value, low=value - 0.02, high=value + 0.02), "train_seconds": took}
        results[result.id] = result.model_copy(update={"metrics": result.metrics | figures})
    return compare(make_table(plan, results))


@pytest.mark.parametrize("seconds", [{8: 1.02, 32: 1.0}, {8: 1.0, 32: 1.0}, {8: 1.0, 32: 9.0}])
def test_between_equals_what_decides_is_named_and_it_is_not_the_clock(seconds: dict[int, float]) -> None:
    found = trained(seconds).recommendation
    assert found.configuration is not None
    assert found.configuration.training.batch_size == 32
    (reason,) = of_kind(found.reasons, FewestSteps)
    assert (reason.of, reason.left) == (2, 1)
    assert work(reason.effort) == (1_250, 40_000)
    assert of_kind(found.reasons, FasterTraining) == []
    assert found.runner_up is not None
    loss = found.runner_up.loss
    assert isinstance(loss, MoreTraining)
    assert (work(loss.own), work(loss.chosen)) == ((5_000, 40_000), (1_250, 40_000))


def work(effort: Effort | None) -> tuple[float, float]:
    assert effort is not None
    return effort.steps, effort.examples


def test_what_decides_at_last_is_named() -> None:
    """Two learning rates with the same figures, of which one gave the smaller file."""
    plan = sample_plan(batch_sizes=(8,), multipliers=(0.5, 1.0), chains=(), goals=(), target=None)
    results = {}
    for result in sample_results(plan):
        rate = result.config.training.learning_rate  # type: ignore[union-attr]
        size = Estimate.exact(1000 if rate < 0.005 else 1020)
        figures = {"val_accuracy": Estimate(value=0.96, low=0.94, high=0.98), "artifact_bytes": size}
        results[result.id] = result.model_copy(update={"metrics": result.metrics | figures})
    found = compare(make_table(plan, results)).recommendation
    assert of_kind(found.reasons, TieBroken) == [TieBroken(2, (Tie.SIZE,))]
    assert found.runner_up is not None
    assert found.runner_up.step is Step.TIE
    loss = found.runner_up.loss
    assert isinstance(loss, LostTie)
    assert (loss.by, loss.own.artifact_bytes, loss.chosen.artifact_bytes) == (Tie.SIZE, 1020, 1000)


def test_where_every_seed_gave_the_same_none_of_them_flatters() -> None:
    for seeds in ((0,), (0, 1, 2)):
        assert of_kind(trained({8: 1.0}, seeds=seeds).recommendation.reasons, BestSeed) == []


def test_what_no_figure_decides_is_called_arbitrary() -> None:
    comparison = trained({8: 1.0, 32: 1.0})
    first, second = comparison.table.baselines
    choice = choose([Candidate(c.key, {0: 0.96}, 0.02) for c in (first, second)], "max")
    chosen, other = sorted((first, second), key=lambda c: c.key)
    assert choice.chosen.key == chosen.key
    loss = loss_by_rule(comparison.table, choice, chosen, other)
    assert isinstance(loss, LostTie)
    assert loss.by is Tie.KEY


@pytest.mark.parametrize(
    ("most", "value", "of", "words"),
    [
        (3.0, 0.99, 3, "is the best: 0.990"),
        (2.0, 0.96, 2, "is the best of these 2: 0.960"),
        (1.0, 0.92, 1, "is 0.92"),
    ],
)
def test_the_best_of_those_within_the_goals_is_not_called_the_best_of_all(
    most: float, value: float, of: int, words: str
) -> None:
    """The larger the batch, the better and the dearer; each far above the next."""
    limit = Goal(metric="train_seconds", type="threshold", value=most)
    comparison = trained({8: 1.0, 32: 2.0, 128: 3.0}, {8: 0.92, 32: 0.96, 128: 0.99}, goals=(limit,))
    (reason,) = of_kind(comparison.recommendation.reasons, BestObjective)
    assert (reason.own.mean, reason.of, reason.is_best_of_all) == (pytest.approx(value), of, of == 3)
    assert words in reason_sentences(comparison.table, reason)[0].text


def test_a_verdict_that_differs_from_its_interval_says_that_it_is_corrected() -> None:
    """Below zero by itself; of two comparisons with this p-value neither is detected."""
    best = {0: 0.980, 1: 0.981, 2: 0.982}
    other = {0: 0.976, 1: 0.975, 2: 0.974}
    alone = paired_difference(other, best, "max")
    assert alone is not None
    assert alone.verdict is Verdict.WORSE
    assert difference_words("val_accuracy", alone).startswith("worse (")
    of_two, _ = corrected([alone, alone])
    words = difference_words("val_accuracy", of_two)
    assert words.startswith("no detectable difference (-0.006 ± 0.005")
    assert words.endswith(", paired over 3 seeds, after Holm p = 0.07)")
    assert difference_words("val_accuracy", paired_difference({0: 0.97}, best, "max")).endswith("(one seed)")
    alike = paired_difference(best, {seed: value - 0.01 for seed, value in best.items()}, "max")
    assert difference_words("val_accuracy", alike).endswith("with each of 3 seeds, after Holm p = 0.25)")
