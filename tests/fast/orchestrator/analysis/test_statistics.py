"""Means, paired differences and corrections against closed forms, published examples and SciPy's own tests."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from orchestrator.analysis.statistics import (
    Basis,
    Summary,
    Verdict,
    corrected,
    holm,
    mean_over_seeds,
    paired_difference,
    pairs_needed,
)
from trainables.estimate import Estimate

FIGURES = st.floats(-1e6, 1e6, allow_nan=False)
SHARES = st.floats(0, 1)


def test_the_interval_of_one_two_three_is_the_textbook_one() -> None:
    summary = mean_over_seeds([1.0, 2.0, 3.0])
    assert summary.mean == 2.0
    assert summary.half_width == pytest.approx(4.302652729749462 / math.sqrt(3))  # t(0.975, 2) x sd / sqrt(n), sd = 1
    assert (summary.n, summary.basis) == (3, Basis.SEEDS)


def test_one_value_has_no_interval() -> None:
    assert mean_over_seeds([0.5]).half_width is None


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        mean_over_seeds([])


def test_a_figure_that_is_not_finite_has_no_interval() -> None:
    assert mean_over_seeds([1.0, math.inf]).half_width is None
    assert math.isnan(mean_over_seeds([1.0, math.nan]).mean)


@given(st.lists(FIGURES, min_size=2, max_size=8), st.lists(FIGURES, min_size=8, max_size=8))
def test_a_paired_difference_agrees_with_scipy(first: list[float], others: list[float]) -> None:
    pairs = [(a, b) for a, b in zip(first, others, strict=False)]
    deltas = [a - b for a, b in pairs]
    mean = sum(deltas) / len(deltas)
    if max(abs(delta - mean) for delta in deltas) < 1e-3:
        return  # SciPy warns where the differences hardly differ
    found = paired_difference(dict(enumerate(a for a, _ in pairs)), dict(enumerate(b for _, b in pairs)), "max")
    expected = stats.ttest_rel([a for a, _ in pairs], [b for _, b in pairs])
    assert found is not None
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-6, abs=1e-6)


def test_pairing_sees_what_the_spread_over_seeds_hides() -> None:
    base = {0: 0.90, 1: 0.95, 2: 0.85, 3: 0.92}
    better = {seed: value + 0.01 + 0.0005 * seed for seed, value in base.items()}
    difference = paired_difference(better, base, "max")
    assert difference is not None
    assert difference.verdict is Verdict.BETTER
    unpaired = stats.ttest_ind(list(better.values()), list(base.values()))
    assert unpaired.pvalue > 0.5


@pytest.mark.parametrize(("mode", "verdict"), [("max", Verdict.BETTER), ("min", Verdict.WORSE)])
def test_what_is_better_depends_on_the_direction(mode: str, verdict: Verdict) -> None:
    difference = paired_difference({0: 2.0, 1: 2.1, 2: 2.05}, {0: 1.0, 1: 1.1, 2: 1.0}, mode)  # type: ignore[arg-type]
    assert difference is not None
    assert difference.verdict is verdict


def test_only_seeds_that_both_have_are_compared() -> None:
    difference = paired_difference({0: 1.0, 1: 2.0, 7: 100.0}, {0: 1.0, 1: 1.0, 8: -100.0}, "max")
    assert difference is not None
    assert (difference.mean, difference.pairs) == (0.5, 2)
    assert paired_difference({0: 1.0}, {1: 1.0}, "max") is None


def test_one_seed_determines_nothing() -> None:
    difference = paired_difference({3: 0.9}, {3: 0.5}, "max")
    assert difference is not None
    assert (difference.verdict, difference.low) == (Verdict.NOT_DETERMINED, None)


def test_identical_figures_do_not_differ() -> None:
    same = paired_difference({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}, "max")
    assert same is not None
    assert (same.verdict, same.p_value, same.low) == (Verdict.NO_DIFFERENCE, 1.0, None)


@pytest.mark.parametrize("pairs", range(2, 9))
def test_a_gap_that_is_always_the_same_is_one_row_of_few_until_enough_seeds_say_so(pairs: int) -> None:
    """Two accuracies over 287 rows that are one row apart with every seed; their spread is not known to be zero."""
    worse = {seed: (270 + seed) / 287 for seed in range(pairs)}
    better = {seed: (271 + seed) / 287 for seed in range(pairs)}
    gap = paired_difference(better, worse, "max")
    assert gap is not None
    assert (gap.low, gap.deviation) == (None, 0.0)
    assert gap.p_value == pytest.approx(stats.binomtest(pairs, pairs).pvalue)
    assert gap.verdict is (Verdict.BETTER if pairs >= 6 else Verdict.NO_DIFFERENCE)


def test_what_stands_after_the_sign_is_the_longer_side() -> None:
    all_right = Estimate.of_share(287, 287)
    shown = Summary(all_right.value, all_right.low, all_right.high, 1, Basis.WITHIN)
    assert shown.half_width == pytest.approx(1 - 287 / (287 + 1.959964**2))


def test_seeds_that_all_gave_the_same_have_no_interval() -> None:
    same = mean_over_seeds([283 / 287, 283 / 287])
    assert (same.mean, same.half_width, same.n) == (pytest.approx(283 / 287), None, 2)


def test_holm_on_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(SHARES, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for raw, new in zip(p_values, adjusted, strict=True):
        assert raw - 1e-12 <= new <= min(1.0, raw * len(p_values)) + 1e-12
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [adjusted[index] for index in order] == sorted(adjusted)


def test_correction_leaves_what_is_not_determined_alone() -> None:
    one = paired_difference({0: 1.0}, {0: 2.0}, "max")
    three = paired_difference({0: 1.0, 1: 1.1, 2: 1.0}, {0: 1.2, 1: 1.31, 2: 1.22}, "max")
    again = corrected([one, None, three, three])
    assert again[0] is one
    assert again[1] is None
    assert three is not None
    assert again[2] is not None
    assert again[2].p_value == pytest.approx(2 * (three.p_value or 0))


def test_seeds_needed_for_a_difference() -> None:
    assert pairs_needed(deviation=0.01, delta=0.01) == 9  # 2.8^2 + 1 = 8.84
    assert pairs_needed(deviation=0.0, delta=0.01) == 2
    with pytest.raises(ValueError, match="zero"):
        pairs_needed(0.01, 0.0)


def test_the_advice_has_the_power_it_promises() -> None:
    """With that many pairs, a t-test finds a true difference of delta in about 80 of 100 cases."""
    n, effect = pairs_needed(deviation=1.0, delta=0.5), 0.5
    critical = stats.t.ppf(0.975, n - 1)
    power = 1 - stats.nct.cdf(critical, n - 1, effect * math.sqrt(n))
    assert 0.75 < power < 0.85
