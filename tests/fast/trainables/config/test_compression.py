"""A chain in words: short where all is usual, and never the same for two that differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.config.compression import Compression, Distill, FineTune, Int8, Prune, describe_chain

STEPS: st.SearchStrategy[Compression] = st.one_of(
    st.builds(FineTune, budget_fraction=st.sampled_from([0.25, 0.5]), learning_rate_factor=st.sampled_from([0.1, 1.0])),
    st.builds(
        Int8, mode=st.sampled_from(["auto", "dynamic", "static"]), calibration_examples=st.sampled_from([64, 256])
    ),
    st.builds(
        Prune,
        ratio=st.sampled_from([0.25, 0.5]),
        round_to=st.sampled_from([1, 4]),
        fine_tune=st.builds(FineTune, budget_fraction=st.sampled_from([0.5, 1.0])),
    ),
    st.builds(
        Distill,
        width=st.sampled_from([0.25, 0.5]),
        temperature=st.sampled_from([2.0, 4.0]),
        alpha=st.sampled_from([0.5, 1.0]),
        budget_fraction=st.sampled_from([0.5, 1.0]),
    ),
)
CHAINS = st.lists(STEPS, max_size=2).map(tuple)


@given(CHAINS, CHAINS)
def test_two_chains_have_the_same_words_only_if_they_are_the_same(
    one: tuple[Compression, ...], other: tuple[Compression, ...]
) -> None:
    assert (describe_chain(one) == describe_chain(other)) == (one == other)


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ((), "uncompressed"),
        ((Prune(ratio=0.5), Int8()), "prune 0.5 + int8"),
        ((Distill(temperature=4), Int8(mode="static")), "distill 0.5 (temperature 4) + int8 static"),
        ((Prune(fine_tune=FineTune(budget_fraction=1)),), "prune 0.5 (fine_tune budget_fraction 1)"),
    ],
)
def test_the_usual_is_short(chain: tuple[Compression, ...], words: str) -> None:
    assert describe_chain(chain) == words
