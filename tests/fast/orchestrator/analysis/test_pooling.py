"""Verdicts from few seeds: what they tell, how often they are wrong, and what is said of what they rest on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.pooling import Scale, outlying, scale_of, spread_of
from orchestrator.analysis.selection_rule import Candidate, choose
from orchestrator.analysis.statistics import Difference, Verdict, on_rows, paired_difference
from orchestrator.analysis.table import make_table
from orchestrator.wording.batch_size import finding_words
from orchestrator.wording.reasons import difference_words
from tests.support.sample_sweep import sample_plan, sample_results
from trainables.estimate import Estimate

GOOD, POOR = {0: 0.988, 1: 0.994}, {0: 0.75, 1: 0.81}
OTHERS = [{0: 0.961, 1: 0.969}, {0: 0.93, 1: 0.95}, {0: 0.972, 1: 0.966}, {0: 0.90, 1: 0.93}]


def difference(first: dict[int, float], second: dict[int, float], others: list[dict[int, float]]) -> Difference:
    found = paired_difference(first, second, "max", others)
    assert found is not None
    return found


def test_two_seeds_tell_78_percent_from_99() -> None:
    found = difference(POOR, GOOD, OTHERS)
    assert found.verdict is Verdict.WORSE
    assert found.high is not None
    assert found.high < 0
    assert found.mean == pytest.approx(-0.211)
    words = difference_words("val_accuracy", found)
    assert "variance pooled over 6 configurations on the arcsine scale (2.33 degrees of freedom)" in words


def test_the_pooled_spread_is_the_two_way_layouts() -> None:
    """Three configurations, three seeds: the others' mean square is what two-way analysis of variance leaves."""
    table = np.array([[1.0, 2.0, 4.0], [2.0, 2.5, 4.5], [0.0, 3.0, 5.0]])
    rows = [dict(enumerate(row)) for row in table.tolist()]
    found = spread_of(rows[0], rows[1], rows[2:], Scale.PLAIN)
    residuals = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    own = float(np.var(table[0] - table[1], ddof=1))
    others = (2 * float(np.square(residuals).sum()) - 2 * own) / 2  # of 4 degrees of freedom, 2 are the pair's own
    third = 2 / 3  # of the others' two
    assert (found.degrees, found.configurations) == (pytest.approx(third + 2), 3)
    assert found.variance == pytest.approx((third * others + 2 * own) / (third + 2))


def test_a_configuration_that_lacks_a_seed_takes_no_part() -> None:
    found = difference(POOR, GOOD, [*OTHERS, {0: 0.9}, {0: 0.9, 1: math.nan}])
    assert found.spread is not None
    assert found.spread.configurations == 6


def test_one_that_varies_far_more_than_the_others_speaks_for_itself() -> None:
    """Its own two seeds say little, and that is said; the others' calm is no evidence of its own."""
    wild = {0: 0.2, 1: 0.9}
    found = difference(wild, GOOD, [{0: m, 1: m + 0.004} for m in (0.90, 0.92, 0.94, 0.95, 0.96, 0.97)])
    assert found.spread is not None
    assert found.spread.outlying
    assert found.verdict is Verdict.NO_DIFFERENCE
    assert "variance not pooled, as one of the two varies far more over seeds" in difference_words(
        "val_accuracy", found
    )


def test_cochrans_c_at_its_tabled_critical_value() -> None:
    """ISO 5725-2: of 10 variances of two figures each, 0.602 of the sum is the 5 % limit."""
    assert outlying([0.61, *[0.39 / 9] * 9], 1) == 0
    assert outlying([0.59, *[0.41 / 9] * 9], 1) is None
    assert outlying([0.0, 0.0, 0.0], 1) is None


@pytest.mark.parametrize(
    ("values", "mode", "scale"),
    [
        ((0.5, 1.0), "max", Scale.ARCSINE),
        ((0.5, 0.0), "min", Scale.ARCSINE),
        ((0.5, 2.0), "min", Scale.LOG),
        ((-0.2, 0.9), "max", Scale.PLAIN),  # R2
        ((12.0, 30.0), "max", Scale.PLAIN),
        ((0.0, 30.0), "min", Scale.PLAIN),
    ],
)
def test_the_scale_suits_the_figures(values: tuple[float, ...], mode: str, scale: Scale) -> None:
    assert scale_of([*values, math.inf], mode) is scale  # type: ignore[arg-type]
    array = np.array(values)
    assert [scale.back(float(place)) for place in scale.of(array)] == pytest.approx(values)


def test_without_others_it_is_the_paired_t_test() -> None:
    found = difference(POOR, GOOD, [])
    assert found.p_value == pytest.approx(stats.ttest_rel(list(POOR.values()), list(GOOD.values())).pvalue)


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("spread", ["equal", "half of them three times", "one three times", "lognormal"])
def test_at_most_6_in_100_equal_pairs_are_called_different_and_95_intervals_cover(seeds: int, spread: str) -> None:
    """Seeded; `benchmarks/seed_verdicts.py` has more kinds and draws. Accuracies near 0.9, of 6 configurations."""
    draw = np.random.default_rng([seeds, len(spread)])
    false = covered = 0
    for _ in range(draws := 600):
        deviations = {
            "equal": np.ones(6),
            "half of them three times": np.repeat([1.0, 3.0], 3),
            "one three times": np.array([1.0, 1, 1, 1, 1, 3]),
            "lognormal": np.exp(draw.normal(0, 0.5, 6)),
        }[spread]
        values = 0.9 + 0.004 * (draw.normal(size=(6, seeds)) * deviations[:, None] + draw.normal(size=seeds))
        rows = [dict(enumerate(row)) for row in values[draw.permutation(6)].tolist()]
        found = difference(rows[0], rows[1], rows[2:])
        assert found.p_value is not None
        assert found.low is not None
        assert found.high is not None
        false += found.p_value < 0.05
        covered += found.low <= 0 <= found.high
    assert false <= 0.06 * draws
    assert covered >= 0.94 * draws


def test_one_of_four_that_spreads_ten_times_as_wide_gives_no_more_false_alarms() -> None:
    """The setting that pooling finds hardest: two seeds, and too few others for the wide one to be found out."""
    draw = np.random.default_rng(17)
    false = 0
    for _ in range(draws := 4000):
        values = draw.normal(size=(4, 2)) * np.array([[1.0], [1.0], [1.0], [10.0]])
        rows = [dict(enumerate(row)) for row in values[draw.permutation(4)].tolist()]
        false += (difference(rows[0], rows[1], rows[2:]).p_value or 0.0) < 0.05
    assert false <= 0.06 * draws


def test_two_seeds_see_what_is_six_deviations_apart() -> None:
    draw = np.random.default_rng(5)
    told = {"pooled": 0, "alone": 0}
    for _ in range(200):
        values = 0.9 + 0.004 * draw.normal(size=(8, 2))
        values[0] -= 6 * 0.004
        rows = [dict(enumerate(row)) for row in values.tolist()]
        told["pooled"] += difference(rows[0], rows[1], rows[2:]).verdict is Verdict.WORSE
        told["alone"] += difference(rows[0], rows[1], []).verdict is Verdict.WORSE
    assert told["pooled"] > 175
    assert told["alone"] < 100


def of_share(right: int, rows: int = 360) -> Estimate:
    return Estimate.of_share(right, rows)


def test_one_seed_says_what_its_rows_tell_and_what_they_do_not() -> None:
    alone = paired_difference({0: 281 / 360}, {0: 356 / 360}, "max")
    found = on_rows(alone, of_share(281), of_share(356))
    assert found is not None
    assert (found.verdict, found.rows_verdict) == (Verdict.NOT_DETERMINED, Verdict.WORSE)
    words = difference_words("val_accuracy", found)
    assert "these two trained models differ on the validation rows" in words
    assert "one seed cannot show whether the settings differ" in words


def test_rows_that_do_not_tell_two_models_apart_are_said_not_to() -> None:
    found = on_rows(paired_difference({0: 352 / 360}, {0: 356 / 360}, "max"), of_share(352), of_share(356))
    assert "do not tell these two trained models apart" in difference_words("val_accuracy", found)


def test_the_interval_over_rows_is_newcombes() -> None:
    """His table II: 56 of 70 against 48 of 80 has the interval 0.0524 to 0.3339, so the difference is told."""
    found = on_rows(paired_difference({0: 0.8}, {0: 0.6}, "max"), of_share(56, 70), of_share(48, 80))
    assert found is not None
    assert found.p_rows is not None
    half = 0.2 - 0.0524
    assert found.p_rows == pytest.approx(2 * stats.norm.sf(1.959964 * 0.2 / half), rel=0.01)


def test_variants_of_one_training_are_not_taken_for_trainings_of_their_own() -> None:
    """Of two batch sizes, the other trainings' seeds tell; of two variants of one, its other variants'."""
    plan = sample_plan(variant_seeds=(0, 1, 2))
    table = make_table(plan, {result.id: result for result in sample_results(plan)})
    first, second, *_ = table.variants
    elsewhere = next(c for c in table.variants if c.training.batch_size != first.training.batch_size)
    assert len(table.beside(first, second, "val_accuracy")) == 3
    assert len(table.beside(first, elsewhere, "val_accuracy")) == len(table.baselines) - 2


def test_the_rule_drops_what_two_seeds_tell() -> None:
    wide = 0.5  # what the validation rows can tell apart: nothing here
    others = [Candidate(str(i), values, wide, 1.0, 1.0) for i, values in enumerate(OTHERS)]
    poor = Candidate("poor", POOR, wide, 0.1, 1.0)
    choice = choose([Candidate("good", GOOD, wide, 1.0, 1.0), poor, *others], "max")
    verdict = choice.differences["poor"]
    assert verdict is not None
    assert verdict.verdict is Verdict.WORSE
    assert choice.chosen.key != "poor"


def test_the_page_of_a_sweep_with_one_seed_says_what_is_not_known() -> None:
    plan = sample_plan(seeds=(0,), chains=(), batch_sizes=(8, 128), multipliers=(1.0,), goals=())
    results = {result.id: result for result in sample_results(plan)}
    poor = next(r for r in results.values() if r.config.kind == "baseline" and r.config.training.batch_size == 128)
    history = (*poor.history[:-1], poor.history[-1].model_copy(update={"metrics": {"val_accuracy": 281 / 360}}))
    metrics = {"val_accuracy": of_share(281)}
    results[poor.id] = poor.model_copy(update={"history": history, "metrics": poor.metrics | metrics})
    (behind,) = compare(make_table(plan, results)).behind
    assert "differ on the validation rows" in finding_words(behind)
    assert "one seed cannot show" in finding_words(behind)
