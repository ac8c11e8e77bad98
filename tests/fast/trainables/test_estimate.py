"""Intervals of shares, such as an accuracy: known answers, and how often they hold what they are said to hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from trainables.estimate import Z_95, Estimate
from trainables.measure.measure import change


def ends(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


@pytest.mark.parametrize(
    ("ones", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_published_examples(ones: int, n: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17(8), table I, the score method without continuity correction."""
    assert ends(Estimate.of_share(ones, n)) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_the_interval_of_a_share_is_the_one_that_scipy_gives(n: int, of: float) -> None:
    ones = round(of * n)
    share, known = Estimate.of_share(ones, n), binomtest(ones, n).proportion_ci(method="wilson")
    assert (share.low, share.high) == pytest.approx((known.low, known.high), abs=1e-9)


@pytest.mark.parametrize("n", [20, 287, 20_000])
def test_all_right_is_not_certainty(n: int) -> None:
    all_right, none_right = Estimate.of_share(n, n), Estimate.of_share(0, n)
    assert (all_right.value, none_right.value) == (1, 0)
    assert ends(all_right) == pytest.approx((n / (n + Z_95**2), 1))
    assert ends(none_right) == pytest.approx((0, Z_95**2 / (n + Z_95**2)))


@given(n=st.integers(2, 5000), of=st.floats(0, 1))
def test_a_mean_of_zeros_and_ones_is_a_share(n: int, of: float) -> None:
    ones = round(of * n)
    found = Estimate.of_values(ones, ones, n)
    assert found == Estimate.of_share(ones, n)
    low, high = ends(found)
    assert 0 <= low <= found.value <= high <= 1


def test_losses_are_no_share_though_their_squares_add_up_to_as_much() -> None:
    losses = np.array([1.2, 0.4])
    assert losses.sum() == (losses**2).sum()
    assert Estimate.of_values(losses.sum(), (losses**2).sum(), 2).value == pytest.approx(0.8)


@pytest.mark.parametrize("n", [30, 100, 300])
def test_the_share_is_in_its_interval_as_often_as_is_said(n: int) -> None:
    """By the binomial distribution, and on average over the shares from 0.5 to 0.995. It dips at single ones."""
    intervals = np.array([ends(Estimate.of_share(ones, n)) for ones in range(n + 1)])
    shares = np.linspace(0.5, 0.995, 100)
    held = [
        binom.pmf(np.arange(n + 1), n, share)[(intervals[:, 0] <= share) & (share <= intervals[:, 1])].sum()
        for share in shares
    ]
    assert 0.94 < np.mean(held) < 0.965
    assert min(held) > 0.85


@pytest.mark.parametrize("n", [60, 287])
@pytest.mark.parametrize(("up", "down"), [(0.0, 0.0), (0.01, 0.01), (0.03, 0.0), (0.1, 0.05)])
def test_the_change_is_in_its_interval_as_often_as_is_said(n: int, up: float, down: float) -> None:
    draw = np.random.default_rng(1)
    gained, lost, _ = draw.multinomial(n, [up, down, 1 - up - down], size=4000).T
    intervals = np.array(
        [ends(Estimate.of_paired_shares(int(g), int(x), n)) for g, x in zip(gained, lost, strict=True)]
    )
    assert np.mean((intervals[:, 0] <= up - down) & (up - down <= intervals[:, 1])) > 0.93


def test_no_difference_among_few_rows_is_not_no_difference_at_all() -> None:
    for n in (60, 287, 20_000):
        same = Estimate.of_paired_shares(0, 0, n)
        assert same.value == 0
        assert ends(same) == pytest.approx((-Z_95 * math.sqrt(2) / (n + 2), Z_95 * math.sqrt(2) / (n + 2)))


def test_the_order_of_the_two_turns_the_interval_over() -> None:
    one, other = Estimate.of_paired_shares(7, 2, 90), Estimate.of_paired_shares(2, 7, 90)
    assert (one.value, *ends(one)) == pytest.approx((-other.value, *(-end for end in reversed(ends(other)))))


def test_a_change_of_an_accuracy_is_one_of_shares_and_of_a_loss_it_is_not() -> None:
    parents = [torch.tensor([1.0, 1.0, 0.0, 1.0]), torch.tensor([1.0, 0.0])]
    own = [torch.tensor([1.0, 0.0, 0.0, 1.0]), torch.tensor([1.0, 1.0])]
    assert change(own, parents, [4, 2]) == Estimate.of_paired_shares(1, 1, 6)
    none = [torch.zeros(4), torch.zeros(2)]
    assert change(none, none, [4, 2]) == Estimate.of_paired_shares(0, 0, 6)  # an error rate of 0 in both
    losses = [0.5 * part for part in own]
    assert change(losses, losses, [4, 2]) == Estimate(value=0.0, low=0.0, high=0.0, n=6)  # the same to the bit


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_change_of_counts_is_none_of_shares_whichever_way_it_goes(sign: float) -> None:
    """One row of many counts one more: the differences alone look like a share."""
    counts = torch.ones(287)
    counts[0] = 2
    more = counts + torch.nn.functional.one_hot(torch.tensor(5), 287)
    found = change([more], [counts], [287]) if sign > 0 else change([counts], [more], [287])
    assert (found.value, *ends(found)) == pytest.approx((sign / 287, (sign - Z_95) / 287, (sign + Z_95) / 287))


def test_items_of_a_row_that_differ_are_no_shares() -> None:
    """Three tokens a row: the row's own mean is what is observed."""
    parents, own = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    found = change([own], [parents], [2])
    assert (found.value, found.n) == (0.0, 2)
    assert found != Estimate.of_paired_shares(1, 1, 2)
