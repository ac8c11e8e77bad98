"""The sentences about the batch size say no more than the figures: bounds, ties, a single contender."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.analysis.batch_verdict import BatchVerdict, FirstReadings, TooShort, decided
from orchestrator.analysis.comparison import compare
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.statistics import Verdict
from orchestrator.analysis.table import SweepTable, make_table
from orchestrator.analysis.target_crossing import Crossing
from orchestrator.analysis.time_to_target import ToTarget
from orchestrator.planning.expand import expand
from orchestrator.report.batch_section import target_grid
from orchestrator.wording.batch_size import batch_size_headline, verdict_sentences
from tests.support.simulated import Law, play, sweep_of


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepTable, BatchVerdict]:
    return found(Law(noise=0.005), tmp_path_factory.mktemp("sweep"))


def found(law: Law, folder: Path) -> tuple[SweepTable, BatchVerdict]:
    plan = expand(sweep_of(folder))
    trials, results = play(plan, law)
    table = make_table(stored_plan(plan, trials.values()), results)
    verdict = Evidence(table).batch
    assert verdict is not None
    return table, verdict


def taking(contender: ToTarget, seconds: dict[int, float], *, is_bound: bool = False) -> ToTarget:
    crossings = {seed: Crossing(10, 100, value, is_bound) for seed, value in seconds.items()}
    return replace(contender, crossings=crossings)


def test_first_readings_that_were_there_decide_nothing(tmp_path: Path) -> None:
    """Every run is at its target long before it is read: what differs is when it is read."""
    table, verdict = found(Law(min_steps=0.5, critical_batch=4.0), tmp_path)
    assert all(contender.is_bound for contender in verdict.contenders)
    assert verdict.fastest is None
    assert isinstance(verdict.undetermined, FirstReadings)
    assert "the first evaluation had reached val_loss 0.5 already" in batch_size_headline(table, verdict)
    assert "`evaluations`" in batch_size_headline(table, verdict)
    heads, rows = target_grid(table, compare(table).targets)
    for figure in ("steps", "examples", "seconds", "worker-seconds"):
        assert all(row[heads.index(figure)].startswith("≤ ") for row in rows)


@pytest.mark.parametrize(("soonest", "compared"), [(0.0098, False), (0.0102, True)])
def test_less_than_a_hundredth_of_a_second_to_the_target_is_too_short_to_compare(
    soonest: float, compared: bool, played: tuple[SweepTable, BatchVerdict], tmp_path: Path
) -> None:
    """The same sweep on a machine that is so much faster in everything."""
    faster = soonest / min(contender.seconds.mean for contender in played[1].contenders)
    law = Law(noise=0.005, overhead=0.02 * faster, per_example=2e-4 * faster)
    table, verdict = found(law, tmp_path)
    assert min(contender.seconds.mean for contender in verdict.contenders) == pytest.approx(soonest)
    assert (verdict.fastest is not None) == compared
    if not compared:
        told = "is reached within 0.00980 s, too short to compare: a harder target would tell"
        assert verdict.undetermined == TooShort(pytest.approx(soonest))
        assert told in batch_size_headline(table, verdict)


def test_the_fastest_by_a_bound_is_the_fastest(played: tuple[SweepTable, BatchVerdict]) -> None:
    table, verdict = played
    first, second, *_ = verdict.contenders
    seeds = sorted(first.crossings)
    fast = taking(first, {seed: 10 + seed / 1e3 for seed in seeds}, is_bound=True)
    slow = taking(second, {seed: 20 + seed / 1e4 for seed in seeds})
    again = decided(verdict, [fast, slow])
    assert again.fastest is fast
    assert [other.verdict for other in again.others] == [Verdict.WORSE]
    assert any("at most" in sentence for sentence in verdict_sentences(table, again))
    assert any(": at least 2.00 times" in sentence for sentence in verdict_sentences(table, again))
    assert any(
        sentence.startswith("No smaller confirmed batch size is as fast")
        for sentence in verdict_sentences(table, again)
    )


def test_all_that_are_not_detectably_slower_stand_in_the_headline(played: tuple[SweepTable, BatchVerdict]) -> None:
    table, verdict = played
    one, two, three, *_ = verdict.contenders
    seeds = sorted(one.crossings)
    alike = [taking(one, {s: 10 + (s % 3) / 10 for s in seeds}), taking(two, {s: 10 + (s % 2) / 10 for s in seeds})]
    slow = taking(three, {s: 20 + (s % 3) / 10 for s in seeds})
    again = decided(verdict, [*alike, slow])
    assert not again.no_difference
    words = batch_size_headline(table, again)
    assert "no detectable difference: " in words
    for contender, is_named in ((one, True), (two, True), (three, False)):
        assert (f"batch {contender.batch_size}" in words.replace(",", " ").split("difference: ")[1]) == is_named


def test_a_single_contender_is_not_called_the_fastest(played: tuple[SweepTable, BatchVerdict]) -> None:
    table, verdict = played
    words = batch_size_headline(table, decided(verdict, verdict.contenders[:1]))
    assert "is the only batch size that reached" in words
    assert "fastest" not in words


def test_the_interval_of_the_prediction_is_not_called_that_of_the_critical_batch(
    played: tuple[SweepTable, BatchVerdict],
) -> None:
    table, verdict = played
    (words,) = (sentence for sentence in verdict_sentences(table, verdict) if sentence.startswith("The fit predicts"))
    assert "the interval follows from the critical batch's 90 % interval" in words
    prediction, curve = verdict.fit.prediction, verdict.fit.curve
    assert prediction is not None
    assert (prediction.low, prediction.high) != (curve.batch_size_low, curve.batch_size_high)
