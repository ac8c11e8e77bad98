"""The rule of the recommendation, step by step."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.analysis.effort import Effort, Pace, efforts
from orchestrator.analysis.selection_rule import Candidate, Step, Tie, choose
from orchestrator.analysis.table import make_table
from tests.support.sample_sweep import sample_plan, sample_results
from trainables.results import TrialResult


def one(key: str, value: float, **figures: Any) -> Candidate:
    settings: dict[str, Any] = {"speed": 1.0, "artifact_bytes": 100.0, "effort": Effort(10.0, 10.0)} | figures
    return Candidate(key, {0: value}, 0.02, **settings)


def test_the_better_objective_wins_beyond_what_the_rows_can_tell_apart() -> None:
    choice = choose([one("good", 0.98), one("fast", 0.95, speed=0.1)], "max")
    assert choice.chosen.key == "good"
    assert choice.dropped == {"fast": Step.OBJECTIVE}


def test_within_what_the_rows_can_tell_apart_the_faster_wins() -> None:
    choice = choose([one("good", 0.98), one("fast", 0.97, speed=0.5)], "max")
    assert choice.chosen.key == "fast"
    assert choice.dropped == {"good": Step.LATENCY}


@pytest.mark.parametrize(
    ("good", "fast", "chosen"),
    [((0.9, 1.1), (0.7, 0.95), "good"), ((0.9, 1.1), (0.7, 0.89), "fast"), (None, (0.7, 0.95), "fast")],
)
def test_of_two_whose_timings_overlap_neither_is_slower(
    good: tuple[float, float] | None, fast: tuple[float, float], chosen: str
) -> None:
    pair = [one("good", 0.98, speed_interval=good), one("fast", 0.97, speed=0.8, speed_interval=fast)]
    assert choose(pair, "max").chosen.key == chosen


def test_a_degradation_goal_can_only_make_it_stricter() -> None:
    pair = [one("good", 0.98), one("fast", 0.97, speed=0.5)]
    assert choose(pair, "max", tolerance=0.005).chosen.key == "good"
    assert choose(pair, "max", tolerance=0.5).chosen.key == "fast"
    assert choose(pair, "max", tolerance=0.5).margin_is_goal is False


def test_then_size_then_cost_then_the_objective_decide() -> None:
    trio = [
        one("large", 0.98, artifact_bytes=200),
        one("dear", 0.975, effort=Effort(30, 30)),
        one("first", 0.972),
        one("second", 0.971, speed=1.04, artifact_bytes=104, effort=Effort(10.4, 10.4)),
    ]
    choice = choose(trio, "max")
    assert choice.chosen.key == "first"
    assert choice.dropped == {"large": Step.SIZE, "dear": Step.WORK, "second": Step.TIE}


def test_several_seeds_can_tell_what_the_rows_cannot() -> None:
    base = {0: 0.970, 1: 0.972, 2: 0.968, 3: 0.971}
    better = Candidate("better", {seed: v + 0.01 for seed, v in base.items()}, 0.02, 1.0, 1.0)
    faster = Candidate("faster", {seed: v + 0.0001 * seed for seed, v in base.items()}, 0.02, 0.1, 1.0)
    choice = choose([better, faster], "max")
    assert choice.chosen.key == "better"
    assert choice.dropped["faster"] is Step.OBJECTIVE


def test_few_and_noisy_seeds_do_not_let_a_clearly_poorer_model_through() -> None:
    good = Candidate("good", {0: 0.98, 1: 0.97}, 0.01, 1.0, 1.0)
    poor = Candidate("poor", {0: 0.95, 1: 0.80}, 0.01, 0.1, 1.0)  # not detectably worse: p = 0.4
    assert choose([good, poor], "max").chosen.key == "good"


def test_less_is_better_for_a_loss() -> None:
    assert choose([one("low", 0.1), one("high", 0.3, speed=0.1)], "min").chosen.key == "low"


def test_a_figure_nobody_has_is_passed_over() -> None:
    pair = [
        Candidate("a", {0: 0.97}, 0.02, None, 10.0),
        Candidate("b", {0: 0.98}, 0.02, None, 5.0),
    ]
    assert choose(pair, "max").chosen.key == "b"


def test_reaching_the_target_beats_not_reaching_it() -> None:
    pair = [one("never", 0.98, effort=Effort(math.inf, math.inf)), one("there", 0.97)]
    assert choose(pair, "max").chosen.key == "there"
    both_never = [one("a", 0.97, effort=Effort(math.inf, math.inf)), one("b", 0.98, effort=Effort(math.inf, math.inf))]
    assert choose(both_never, "max").chosen.key == "b"


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        choose([], "max")


CANDIDATES = st.lists(
    st.builds(
        one,
        key=st.uuids().map(str),
        value=st.sampled_from([0.9, 0.95, 0.96, 0.97]),
        speed=st.sampled_from([0.5, 0.51, 1.0, None]),
        artifact_bytes=st.sampled_from([10.0, 10.2, 100.0]),
        effort=st.sampled_from([Effort(1, 1), Effort(2, 2), Effort(1, 2), Effort(math.inf, math.inf), None]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda c: c.key,
)


@given(CANDIDATES, st.randoms(), st.sampled_from(["min", "max"]))
def test_the_choice_does_not_depend_on_order_and_accounts_for_everyone(
    candidates: list[Candidate], rng: random.Random, mode: str
) -> None:
    shuffled = list(candidates)
    rng.shuffle(shuffled)
    choice = choose(candidates, mode)  # type: ignore[arg-type]
    again = choose(shuffled, mode)  # type: ignore[arg-type]
    assert (choice.chosen, choice.leader, choice.dropped) == (again.chosen, again.leader, again.dropped)
    assert set(choice.dropped) | {choice.chosen.key} == {c.key for c in candidates}
    counts = list(choice.kept.values())
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 1


def test_of_equals_one_that_is_beaten_in_everything_is_not_taken() -> None:
    """Within 5 % in every cost, yet another is as good in all of them and better in one."""
    choice = choose([one("beaten", 0.98, speed=1.04), one("front", 0.979, on_front=True)], "max")
    assert choice.chosen.key == "front"
    assert choice.dropped == {"beaten": Step.FRONT}


def test_means_that_differ_by_rounding_are_equal_and_the_faster_wins() -> None:
    choice = choose([one("a", 0.98 + 1e-12, speed=1.04), one("b", 0.98, speed=1.0)], "max")
    assert choice.chosen.key == "b"
    assert choice.dropped == {"a": Step.TIE}
    assert choice.settled == {"a": Tie.SPEED}


def test_of_equal_means_the_smallest_then_the_cheapest_then_the_smaller_batch_is_taken() -> None:
    """Baselines have no latency; the key comes last, and says nothing of them."""
    none = {"speed": None, "artifact_bytes": 104.0, "effort": Effort(10.4, 10.4), "batch_size": 64}
    rows = [
        one("a", 0.0, **none),
        one("b", 0.0, **none | {"artifact_bytes": 100.0}),
        one("c", 0.0, **none | {"effort": Effort(10.4, 10), "artifact_bytes": 100.0}),
        one("d", 0.0, **none | {"effort": Effort(10.4, 10), "artifact_bytes": 100.0, "batch_size": 8}),
        one("e", 0.0, **none | {"effort": Effort(10.4, 10), "artifact_bytes": 100.0, "batch_size": 8}),
    ]
    choice = choose(rows, "min")
    assert choice.chosen.key == "d"
    assert choice.settled == {"a": Tie.SIZE, "b": Tie.EXAMPLES, "c": Tie.BATCH_SIZE, "e": Tie.KEY}


def timed(seconds: float, runs: int, deviation: float, key: str) -> Pace:
    return Pace(key, math.log(seconds), runs, deviation, degrees=4 * (runs - 1))


@pytest.mark.parametrize(
    ("slow", "deviation", "runs", "chosen"),
    [
        (4.0, 0.1, 3, "few steps"),  # four times the seconds, with runs that agree
        (4.0, 1.0, 3, "few examples"),  # with runs that do not
        (4.0, 0.0, 1, "few examples"),  # of runs that were timed once
        (1.4, 0.01, 3, "few examples"),  # by less than a busy hour may do
    ],
)
def test_seconds_decide_only_where_their_spread_allows_it(
    slow: float, deviation: float, runs: int, chosen: str
) -> None:
    """A small and a large batch: neither is beaten in steps and examples. The small one is the better by a hair."""
    steps = one("few steps", 0.975, effort=Effort(100, 900, timed(0.01, runs, deviation, "large")))
    examples = one("few examples", 0.976, effort=Effort(300, 300, timed(slow / 300, runs, deviation, "small")))
    assert choose([steps, examples], "max").chosen.key == chosen


def test_one_kind_of_step_is_not_slower_than_itself() -> None:
    """Two learning rates at one batch size: the clock has nothing to say, whatever it said."""
    fast, slow = (Effort(100, 100, timed(seconds, 9, 0.01, "one")) for seconds in (1.0, 9.0))
    assert not slow.is_slower(fast)


def test_runs_too_short_for_a_clock_time_nothing() -> None:
    plan = sample_plan(chains=(), goals=())
    short = {result.id: in_a_moment(result) for result in sample_results(plan)}
    assert {effort.pace for effort in efforts(make_table(plan, short)).values()} == {None}


def in_a_moment(result: TrialResult) -> TrialResult:
    history = tuple(report.model_copy(update={"seconds": report.seconds / 10_000}) for report in result.history)
    return result.model_copy(update={"history": history})
