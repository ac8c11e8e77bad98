"""`batch_size: auto` from the first probe to the verdict, on simulated tasks whose answer is known."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.adaptive.resolve import further_trials, settled
from orchestrator.analysis.batch_verdict import BatchVerdict, NeverReached
from orchestrator.analysis.comparison import compare
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.predict_batch import FromLines
from orchestrator.analysis.statistics import Verdict
from orchestrator.analysis.table import SweepTable, make_table
from orchestrator.planning.expand import expand
from orchestrator.planning.workload import work_of
from orchestrator.sweep.plan import Plan, Stage, Trial
from orchestrator.sweep.spec import AutoBatchSize, CompressionPlan, Sweep, TopParents
from orchestrator.wording.batch_size import doubts
from tests.support.simulated import PARAMETERS, ROWS, Law, play, sweep_of
from trainables.config.compression import Int8
from trainables.config.trial import ProbeConfig, VariantConfig
from trainables.estimate import Estimate
from trainables.results import Status, TrialResult

LAW = Law()


def played(plan: Plan, law: Law) -> tuple[SweepTable, BatchVerdict]:
    trials, results = play(plan, law)
    table = make_table(stored_plan(plan, trials.values()), results)
    verdict = Evidence(table).batch
    assert verdict is not None
    return table, verdict


def by_stage(trials: Any, stage: Stage) -> list[Trial]:
    return [trial for trial in trials if trial.stage is stage]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path)


# -- to the right answer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("critical", [30.0, 200.0, 1500.0])
@pytest.mark.parametrize("overhead", [0.002, 0.02, 0.2])
def test_it_finds_a_batch_size_within_a_tenth_of_the_fastest(sweep: Sweep, critical: float, overhead: float) -> None:
    law = Law(critical_batch=critical, min_steps=12_000 / critical, overhead=overhead, noise=0.03)
    _, verdict = played(expand(sweep), law)
    assert verdict.fastest is not None, verdict.undetermined
    reachable = [size for size in range(8, 3126) if law.steps(size) * size < 0.8 * 100_000]
    best = min(law.seconds(size) for size in reachable)
    assert law.seconds(verdict.fastest.batch_size) < 1.1 * best


def test_the_fit_recovers_the_law(sweep: Sweep) -> None:
    _, verdict = played(expand(sweep), Law(noise=0.0))
    curve, prediction = verdict.fit.curve, verdict.fit.prediction
    assert curve.batch_size == pytest.approx(200, rel=0.25)  # rates lie on a grid around the best
    assert curve.undetermined is None
    assert prediction is not None
    assert prediction.batch_size == pytest.approx(math.sqrt(0.02 * 200 / 2e-4), rel=0.25)
    assert verdict.fit.step_time is not None
    assert verdict.fit.step_time.per_example == pytest.approx(2e-4, rel=1e-6)


def test_the_noisy_quadratic_end_to_end(sweep: Sweep) -> None:
    """Zhang et al. 2019 (arXiv 1907.04164): exact steps to a tenth of the first loss; see test_critical_batch."""
    known = {2**i: s for i, s in enumerate([424, 217, 113, 62, 38, 26, 21, 18, 16, 16, 15, 15, 15, 15, 15])}

    def steps(size: float) -> float:
        return float(np.exp(np.interp(np.log(size), np.log(list(known)), np.log(list(known.values())))))

    changes = {
        "parameters": sweep.parameters.model_copy(update={"batch_size": AutoBatchSize(smallest=1, largest=512)}),
        "budget": sweep.budget.model_copy(update={"amount": 10_000}),
        "evaluations": 200,
    }
    law = Law(steps_at=steps, overhead=0.02, per_example=2e-3, noise=0.02)
    _, verdict = played(expand(sweep.model_copy(update=changes)), law)
    assert verdict.fastest is not None, verdict.undetermined
    best = min(law.seconds(size) for size in range(1, 513))
    assert law.seconds(verdict.fastest.batch_size) < 1.1 * best


def test_a_rule_that_is_wrong_is_made_good_by_the_grid_and_its_extension(sweep: Sweep) -> None:
    """The file says linear from a rate four times too low; the truth grows with the square root."""
    law = Law(base_rate=0.2, rate_power=0.5, noise=0.02)
    table, verdict = played(expand(sweep), law)
    assert verdict.fastest is not None
    assert by_stage(table.rows, Stage.EDGE)
    for row in verdict.fit.rows:
        off = row.configuration.training.learning_rate / law.best_rate(row.batch_size)
        assert 0.5 <= off <= 2 or row.edge
    best = min(law.seconds(size) for size in range(8, 1000))
    assert law.seconds(verdict.fastest.batch_size) < 1.15 * best


# -- what it says ------------------------------------------------------------------------------------------------------


def test_no_detectable_difference_where_time_is_flat(sweep: Sweep) -> None:
    """Far below the critical batch and without overhead, every batch size takes the same seconds."""
    law = Law(critical_batch=1e6, min_steps=0.02, overhead=1e-9, noise=0.2)
    _, verdict = played(expand(sweep), law)
    assert verdict.fastest is not None, verdict.undetermined
    assert verdict.no_difference
    assert isinstance(verdict.fit.prediction.basis, FromLines)  # type: ignore[union-attr]


def test_a_clear_difference_is_detected_and_the_smallest_as_good_is_named(sweep: Sweep) -> None:
    law = Law(noise=0.005)
    _, verdict = played(expand(sweep), law)
    assert verdict.fastest is not None
    assert verdict.smallest is not None
    assert not verdict.no_difference
    for other in verdict.others:
        ratio = law.seconds(other.contender.batch_size) / law.seconds(verdict.fastest.batch_size)
        assert other.interval is not None
        assert other.interval[0] * 0.97 < ratio < other.interval[1] * 1.03
    ratio = law.seconds(verdict.smallest.batch_size) / law.seconds(verdict.fastest.batch_size)
    assert ratio < 1.12
    assert verdict.smallest.batch_size <= verdict.fastest.batch_size


def test_more_workers_are_faster_and_fewer_are_cheaper(tmp_path: Path) -> None:
    parameters = PARAMETERS.replace("{batch_size", "{num_workers: {values: [1, 4]}, batch_size")
    law = Law(overhead=0.005, per_example=1e-3, communication={4: 0.01}, noise=0.01)
    table, verdict = played(expand(sweep_of(tmp_path, parameters)), law)
    assert verdict.fastest is not None
    assert verdict.cheapest is not None
    assert verdict.fastest.num_workers == 4
    assert verdict.cheapest.num_workers == 1
    assert {c.num_workers for c in verdict.contenders} == {1, 4}
    assert all(row.config.training.num_workers == 4 for row in by_stage(table.rows, Stage.FIT))


@pytest.mark.parametrize("communication", [0.0, 0.02, 0.06, 0.15, 0.3, 1.0], ids=str)
def test_the_fastest_and_the_cheapest_are_each_at_their_own_size_and_workers(
    tmp_path: Path, communication: float
) -> None:
    """Four workers have the higher throughput at large batches always, and reach the target sooner only up to 0.15."""
    parameters = PARAMETERS.replace("{batch_size", "{num_workers: {values: [1, 4]}, batch_size")
    law = Law(overhead=0.02, per_example=2e-3, communication={4: communication}, noise=0.01)
    table, verdict = played(expand(sweep_of(tmp_path, parameters)), law)
    assert verdict.fastest is not None
    assert verdict.cheapest is not None
    every = [(size, workers) for size in range(8, 1000, 4) for workers in (1, 4)]
    fastest, cheapest = verdict.fastest, verdict.cheapest
    assert law.seconds(fastest.batch_size, fastest.num_workers) < 1.1 * min(law.seconds(*one) for one in every)
    cost = cheapest.num_workers * law.seconds(cheapest.batch_size, cheapest.num_workers)
    assert cost < 1.1 * min(workers * law.seconds(size, workers) for size, workers in every)
    confirmed = [row.config.training for row in by_stage(table.rows, Stage.CONFIRMATION)]
    assert len({(training.batch_size, training.num_workers) for training in confirmed}) <= 4


def test_a_target_that_nothing_reaches_is_said(sweep: Sweep) -> None:
    table, verdict = played(expand(sweep), Law(min_steps=1e6))
    assert verdict.fastest is None
    assert verdict.undetermined == NeverReached()
    assert not by_stage(table.rows, Stage.CONFIRMATION)


def test_everything_diverging_comes_to_an_end(sweep: Sweep) -> None:
    _, verdict = played(expand(sweep), Law(diverges_above=0.0))
    assert verdict.fastest is None


# -- how it goes about it ----------------------------------------------------------------------------------------------


def test_it_never_spends_more_than_the_plan_says_and_a_quarter_of_the_grid(sweep: Sweep) -> None:
    """Beside 8 batch sizes x 5 rates x 3 seeds, each for the same budget."""
    plan = expand(sweep)
    for law in (LAW, Law(critical_batch=30, noise=0.1), Law(base_rate=0.3), Law(rate_power=0.5), Law(min_steps=400)):
        trials, _ = play(plan, law)
        for bound in plan.stages:
            together = [b for b in plan.stages if b.stage is bound.stage]
            of_stage = [t for t in trials.values() if t.stage is bound.stage]
            assert len(of_stage) <= sum(b.trials for b in together)
            examples = sum(work_of(t.config, ROWS).examples for t in of_stage)
            assert examples <= sum(b.examples for b in together)
        spent = sum(work_of(trial.config, ROWS).examples for trial in trials.values())
        assert spent <= (0.25 if law is LAW else 0.32) * 8 * 5 * 3 * 100_000


def test_the_first_trials_are_probes_and_a_short_run_in_parts(tmp_path: Path) -> None:
    parameters = PARAMETERS.replace("{batch_size", "{precision: {values: [float32, bfloat16]}, batch_size")
    plan = expand(sweep_of(tmp_path, parameters))
    assert [trial.stage for trial in plan.trials] == [Stage.PROBE, Stage.PROBE, Stage.SHORT_RUN]
    assert [t.config.precision for t in plan.trials if isinstance(t.config, ProbeConfig)] == ["float32", "bfloat16"]
    short = plan.trials[-1].training
    assert short.accumulation_steps >= 8
    assert short.budget.amount == 25_000
    assert not plan.trials[-1].may_stop_early


@pytest.mark.parametrize(
    ("num_workers", "largest", "batch_size", "parts"),
    [(1, 8, 4, 2), (1, 48, 8, 4), (1, 384, 24, 8), (2, 32, 8, 4), (3, 96, 18, 9), (4, 32, 12, 4), (8, 64, 24, 8)],
)
def test_the_parts_of_a_short_run_are_several_and_of_several_rows(
    tmp_path: Path, num_workers: int, largest: int, batch_size: int, parts: int
) -> None:
    sizes = f"{{batch_size: {{auto: {{smallest: 2, largest: {largest}}}}}, num_workers: {num_workers}, "
    short = expand(sweep_of(tmp_path, PARAMETERS.replace("{batch_size: auto, ", sizes))).trials[-1].training
    assert (short.batch_size, short.accumulation_steps * num_workers) == (batch_size, parts)
    assert short.micro_batch_size * parts == batch_size


def test_confirmations_have_fresh_seeds_and_are_never_cut_short(sweep: Sweep) -> None:
    trials, _ = play(expand(sweep), LAW)
    fit = {t.training.seed for t in trials.values() if t.stage in (Stage.FIT, Stage.EDGE)}
    confirmation = by_stage(trials.values(), Stage.CONFIRMATION)
    seeds = {trial.training.seed for trial in confirmation}
    assert len(seeds) == 4
    assert not fit & seeds
    assert not any(trial.may_stop_early for trial in confirmation)
    assert len({(t.training.batch_size, t.training.learning_rate) for t in confirmation}) == 3


def test_micro_batches_stay_within_what_the_probe_found(sweep: Sweep) -> None:
    trials, _ = play(expand(sweep), Law(largest_micro_batch=40))
    later = [t.training for t in trials.values() if t.stage in (Stage.FIT, Stage.EDGE, Stage.CONFIRMATION)]
    assert all(training.micro_batch_size <= 40 for training in later)
    assert any(training.accumulation_steps > 1 for training in later)


def test_the_noise_scale_narrows_the_sizes_and_its_absence_does_not_matter(sweep: Sweep) -> None:
    def sizes(estimate: Estimate | None) -> list[int]:
        trials, _ = play(expand(sweep), Law(noise_scale=estimate, noise=0.01))
        return sorted({t.training.batch_size for t in by_stage(trials.values(), Stage.FIT)})

    whole = sizes(None)
    assert (
        sizes(Estimate(value=-3.0, note="unresolved: the mean gradient is not detectably different from zero")) == whole
    )
    narrow = sizes(Estimate(value=100.0, low=80.0, high=120.0, n=30))
    assert narrow[-1] / narrow[0] < whole[-1] / whole[0]
    assert narrow[0] <= 20
    assert 700 <= narrow[-1] <= 1100


def test_the_prior_says_where_the_optimum_should_be(sweep: Sweep) -> None:
    law = Law(noise_scale=Estimate(value=200.0, low=100.0, high=400.0, n=50))
    _, verdict = played(expand(sweep), law)
    assert verdict.prior is not None
    assert verdict.prior.batch_size == pytest.approx(math.sqrt(0.02 * 200 / 2e-4), rel=0.01)
    assert verdict.prior.low == pytest.approx(verdict.prior.batch_size / math.sqrt(2), rel=0.01)


def test_the_order_in_which_results_come_does_not_matter(sweep: Sweep) -> None:
    """One result at a time, in a random order, asks for the same trials as all at once."""
    plan = expand(sweep)
    expected = set(play(plan, LAW)[0])
    trials, results = {t.id: t for t in plan.trials}, dict[str, TrialResult]()
    generator = random.Random(0)  # noqa: S311 - an order, not a secret
    while still := [t for t in trials.values() if t.id not in results]:
        one = generator.choice(still)
        results[one.id] = LAW.result(one)
        trials.update({t.id: t for t in further_trials(plan, results)})
        assert settled(plan, results) == (not any(t not in results for t in trials))
    assert set(trials) == expected


def test_variants_wait_for_the_verdict_and_compress_the_fastest(tmp_path: Path, sweep: Sweep) -> None:
    compression = CompressionPlan(parents=TopParents(top=1), variants=((Int8(),),))
    plan = expand(sweep.model_copy(update={"compression": compression}))
    assert plan.pending == ()
    trials, results = play(plan, LAW)
    variants = [t.config for t in trials.values() if isinstance(t.config, VariantConfig)]
    table = make_table(stored_plan(plan, trials.values()), results)
    verdict = Evidence(table).batch
    assert verdict is not None
    assert verdict.fastest is not None
    assert len(variants) == 2  # uncompressed and int8
    assert {v.parent for v in variants} == {verdict.fastest.configuration.rows[0].id}


def test_a_confirmation_that_fails_leaves_the_others_to_decide(sweep: Sweep) -> None:
    class Unlucky(Law):
        def result(self, trial: Trial) -> TrialResult:
            result = super().result(trial)
            if trial.stage is Stage.CONFIRMATION and trial.training.seed == 1 and trial.training.batch_size > 100:
                return result.model_copy(update={"status": Status.FAILED, "history": (), "metrics": {}})
            return result

    _, verdict = played(expand(sweep), Unlucky())
    assert any(not contender.is_whole for contender in verdict.contenders)
    assert verdict.fastest is None or verdict.fastest.is_whole


def test_what_is_recommended_is_as_fast_as_the_fastest(sweep: Sweep) -> None:
    """A smaller batch ends with a better loss here, and takes detectably longer to the target that was asked for."""
    plan = expand(sweep)
    trials, results = play(plan, Law(noise=0.005))
    comparison = compare(make_table(stored_plan(plan, trials.values()), results))
    assert comparison.batch is not None
    assert comparison.batch.fastest is not None
    assert comparison.recommendation.configuration is not None
    equal = [o.contender.batch_size for o in comparison.batch.others if o.verdict is not Verdict.WORSE]
    chosen = comparison.recommendation.configuration.training.batch_size
    assert chosen in (comparison.batch.fastest.batch_size, *equal)
    shown, fitted = (
        {row.batch_size: row.steps for row in rows} for rows in (comparison.targets, comparison.batch.fit.rows)
    )
    assert shown == fitted, "what confirms has one rate, and is in no table of tuned ones"


def test_readings_that_come_too_late_are_owned_up_to(sweep: Sweep) -> None:
    _, verdict = played(expand(sweep.model_copy(update={"evaluations": 1})), Law(noise=0.0))
    assert any(
        "upper bound" in sentence and "more `evaluations` would help" in sentence
        for sentence in doubts(verdict.fit.rows)
    )
