"""The grid, the learning rates and their origin, identity, and which baselines are compressed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adaptive.resolve import (
    Dropped,
    Outlook,
    Ready,
    Waiting,
    decide_variants,
    further_trials,
    outlook,
    settled,
)
from orchestrator.planning.evidence import evidence_of
from orchestrator.planning.expand import expand
from orchestrator.planning.scaling import linear, none, scaled_rates, sqrt
from orchestrator.planning.workload import Work, budget_fractions, chain_work, work_of
from orchestrator.report.plan_table import baseline_table
from orchestrator.sweep.labels import settings_words, varying_settings
from orchestrator.sweep.plan import Plan
from orchestrator.sweep.spec import CompressionPlan, ScaledLearningRate, Sweep, TopParents
from tests.support.sweep_text import load_text, sweep_text
from trainables.config.compression import Distill, FineTune, Int8, Prune
from trainables.config.optimizers import Adam, Sgd
from trainables.config.trial import VariantConfig, trial_id
from trainables.data.shards import Shard
from trainables.estimate import Estimate
from trainables.results import Status, TrialResult

STOPPED = Status.STOPPED_EARLY
GRID = """{batch_size: {values: [16, 32]}, learning_rate: {base: 0.1, at_batch_size: 32, rule: linear, multipliers:
[1, 2]},
           seed: {values: [7, 8, 9]}}""".replace("\n", " ")


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return load_text(tmp_path, sweep_text(parameters=GRID))


def with_compression(sweep: Sweep, **fields: Any) -> Plan:
    compression = CompressionPlan.model_validate({"variants": ((Int8(),),), **fields})
    return expand(sweep.model_copy(update={"compression": compression}))


def results(
    plan: Plan, value: Callable[[int], float], status: Mapping[int, Status] | None = None
) -> dict[str, TrialResult]:
    """A result for every baseline: the objective by its place in the plan, completed unless said otherwise."""
    return {
        trial.id: TrialResult(
            id=trial.id,
            config=trial.config,
            status=(status or {}).get(place, Status.COMPLETED),
            metrics={"val_accuracy": Estimate(value=value(place))},
        )
        for place, trial in enumerate(plan.trials)
    }


def parents(plan: Plan, found: Mapping[str, TrialResult]) -> list[int]:
    """Places in the plan of the parents of the uncompressed variants."""
    places = {trial.id: place for place, trial in enumerate(plan.trials)}
    chosen = []
    for trial in further_trials(plan, found):
        assert isinstance(trial.config, VariantConfig)
        if not trial.config.chain:
            chosen.append(places[trial.config.parent])
    return chosen


# -- the grid ---------------------------------------------------------------------------------------------------------


def test_the_grid_is_a_product_in_a_stable_order(sweep: Sweep) -> None:
    plan = expand(sweep)
    grid = [
        (trial.config.training.batch_size, trial.config.training.learning_rate, trial.config.training.seed)
        for trial in plan.trials
    ]
    rates = {16: (0.05, 0.1), 32: (0.1, 0.2)}
    assert grid == [(batch, rate, seed) for batch in (16, 32) for rate in rates[batch] for seed in (7, 8, 9)]
    assert expand(sweep) == plan
    assert [trial.learning_rate_source for trial in plan.trials[::3]] == [
        "linear from 0.1 at 32",
        "linear from 0.1 at 32 x 2",
    ] * 2
    assert all(trial.id == trial_id(trial.config) == plan.by_id[trial.id].id for trial in plan.trials)


@given(share=st.integers(1, 200), workers=st.integers(1, 8), limit=st.none() | st.integers(1, 300))
def test_the_factors_make_the_batch(share: int, workers: int, limit: int | None, tmp_path_factory: Any) -> None:
    batch = share * workers
    limited = f", micro_batch_size: {limit}" if limit else ""
    text = sweep_text(
        budget="{steps: 100}",
        compression=None,
        goals=None,
        parameters=f"{{batch_size: {batch}, num_workers: {workers}, learning_rate: 0.1{limited}}}",
    )
    folder: Path = tmp_path_factory.getbasetemp()
    if batch > 1151:
        return
    (trial,) = expand(load_text(folder, text)).trials
    training = trial.config.training
    assert training.micro_batch_size * training.accumulation_steps * training.num_workers == batch
    assert training.micro_batch_size <= (limit or batch)


def test_rules_of_the_learning_rate() -> None:
    assert (linear(0.1, 4), sqrt(0.1, 4), none(0.1, 4)) == (0.4, 0.2, 0.1)
    assert scaled_rates(ScaledLearningRate(base=0.1, at_batch_size=32, rule="linear"), 96) == [
        (0.3, "linear from 0.1 at 32")  # and not 0.30000000000000004, which would be another trial
    ]
    assert scaled_rates(ScaledLearningRate(base=0.1, rule="none", multipliers=(1, 3)), 96) == [
        (0.1, "fixed 0.1"),
        (0.3, "fixed 0.1 x 3"),
    ]
    assert (evidence_of(Sgd()).rule, evidence_of(Adam()).rule) == ("linear", "sqrt")


@given(
    base=st.floats(1e-6, 10),
    sizes=st.tuples(*[st.integers(1, 4096)] * 3),
    rule=st.sampled_from(["linear", "sqrt", "none"]),
)
def test_scaling_there_and_on_is_scaling_at_once(base: float, sizes: tuple[int, int, int], rule: Any) -> None:
    first, second, third = sizes
    ((there, _),) = scaled_rates(ScaledLearningRate(base=base, at_batch_size=first, rule=rule), second)
    ((on, _),) = scaled_rates(ScaledLearningRate(base=there, at_batch_size=second, rule=rule), third)
    ((at_once, _),) = scaled_rates(ScaledLearningRate(base=base, at_batch_size=first, rule=rule), third)
    assert math.isclose(on, at_once, rel_tol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("{batch_size: {values: [16, 32]}, learning_rate: 0.1}", "same learning rates"),
        (
            "{batch_size: 16, learning_rate: {base: 0.1, at_batch_size: 8, rule: linear}, optimizer: adam}",
            "unusual for adam",
        ),
    ],
)
def test_what_may_mislead_is_noted(tmp_path: Path, parameters: str, words: str) -> None:
    (note,) = expand(load_text(tmp_path, sweep_text(parameters=parameters))).notes
    assert words in note
    assert expand(load_text(tmp_path, sweep_text())).notes == ()


def test_a_noise_scale_that_will_not_be_known_is_noted_where_the_file_asks_for_it(tmp_path: Path) -> None:
    def notes(noise_scale: str) -> tuple[str, ...]:
        budget, batches = "{examples: 6000}", "{batch_size: {values: [16, 64]}, learning_rate: {base: 0.1, rule: none}}"
        text = sweep_text(budget=budget, parameters=batches, noise_scale=noise_scale)
        return tuple(note for note in expand(load_text(tmp_path, text)).notes if "noise scale" in note)

    (note,) = notes("{divided_every_steps: 50}")  # 375 steps and 93
    assert "unresolved at batch_size 64: fewer than 4 of their steps" in note
    assert notes("{divided_every_steps: 20}") == notes("false") == ()


# -- identity ---------------------------------------------------------------------------------------------------------


def ids(folder: Path, **sections: str | None) -> list[str]:
    return [trial.id for trial in expand(load_text(folder, sweep_text(**sections))).trials]


def test_identity_is_what_decides_the_result(tmp_path: Path) -> None:
    before = ids(tmp_path)
    for same in [
        {"name": "other"},
        {"goals": None},
        {"objective": "{metric: val_loss, target: 0.1}"},
        {"compression": None, "goals": None},
        {"measure": "{threads: 2}"},
        {"early_stopping": "{}"},
    ]:
        assert ids(tmp_path, **same) == before
    for other in [
        {"task": "digits_transformer"},
        {"task": "{name: digits_cnn, options: {channels: 16}}"},
        {"budget": "{examples: 1001}"},
        {"evaluations": "5"},
        {"parameters": sweep_text().split("parameters: ")[1].split("\n")[0][:-1] + ", seed: 1}"},
    ]:
        assert not set(ids(tmp_path, **other)) & set(before)


def test_the_order_of_options_does_not_matter(tmp_path: Path) -> None:
    tasks = [
        f"{{name: digits_transformer, options: {{{options}}}}}"
        for options in ("heads: 2, layers: 1", "layers: 1, heads: 2")
    ]
    assert ids(tmp_path, task=tasks[0]) == ids(tmp_path, task=tasks[1])


def test_a_variants_identity_holds_its_parents(sweep: Sweep) -> None:
    plan = with_compression(sweep, parents="all", seeds="all")
    variants = further_trials(plan, results(plan, float))
    assert len({trial.id for trial in variants}) == len(variants) == 2 * len(plan.trials)
    other = with_compression(
        sweep.model_copy(update={"measure": sweep.measure.model_copy(update={"threads": 3})}), parents="all"
    )
    assert not {trial.id for trial in further_trials(other, results(other, float))} & {trial.id for trial in variants}


# -- parents ----------------------------------------------------------------------------------------------------------


def test_nothing_is_chosen_before_all_candidates_have_ended(sweep: Sweep) -> None:
    plan = with_compression(sweep)
    found = results(plan, float)
    first_batch = {trial.id: found[trial.id] for trial in plan.trials[:6]}
    assert further_trials(plan, {}) == ()
    assert all(isinstance(decision, Waiting) for decision in decide_variants(plan, {}))
    assert parents(plan, first_batch) == [3]  # the second batch size still trains
    missing = decide_variants(plan, dict(list(first_batch.items())[1:]))[0]
    assert isinstance(missing, Waiting)
    assert missing.missing == (plan.trials[0].id,)
    assert not settled(plan, first_batch)
    assert settled(plan, found)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"parents": "best_per_batch_size"}, [3, 9]),
        ({"parents": "best_per_batch_size", "seeds": "all"}, [3, 4, 5, 9, 10, 11]),
        ({"parents": "all"}, [0, 3, 6, 9]),
        ({"parents": "all", "seeds": "all"}, list(range(12))),
        ({"parents": TopParents(top=1)}, [9]),
        ({"parents": TopParents(top=3)}, [9, 6, 3]),
    ],
)
def test_the_best_mean_over_seeds_is_chosen(sweep: Sweep, fields: Any, expected: list[int]) -> None:
    plan = with_compression(sweep, **fields)
    assert parents(plan, results(plan, float)) == expected
    assert len(further_trials(plan, results(plan, float))) == len(plan.pending) == 2 * len(expected)


def test_less_is_better_when_the_objective_says_so(sweep: Sweep) -> None:
    minimise = sweep.model_copy(update={"objective": sweep.objective.model_copy(update={"mode": "min"})})
    plan = with_compression(minimise, parents=TopParents(top=1))
    assert parents(plan, results(plan, float)) == [0]


def test_ties_go_to_the_first(sweep: Sweep) -> None:
    plan = with_compression(sweep, parents=TopParents(top=2))
    assert parents(plan, results(plan, lambda place: 0.5)) == [0, 3]


def test_a_mean_counts_and_not_a_lucky_seed(sweep: Sweep) -> None:
    plan = with_compression(sweep, parents=TopParents(top=1))
    lucky = results(plan, lambda place: 1.0 if place == 0 else 0.0 if place < 3 else 0.5)
    assert parents(plan, lucky) == [3]


def test_a_configuration_that_lost_seeds_comes_after_those_that_lost_fewer(sweep: Sweep) -> None:
    plan = with_compression(sweep, parents=TopParents(top=4))
    status = {9: Status.DIVERGED, 10: Status.OUT_OF_MEMORY, 6: Status.STOPPED_EARLY}
    assert parents(plan, results(plan, float, status)) == [3, 0, 7, 11]  # of 6-8 the first seed that ran to its end


def test_one_seed_that_survived_early_stopping_is_not_the_best(sweep: Sweep) -> None:
    """0.99, and two seeds that were stopped at far less, against three at 0.9."""
    plan = with_compression(sweep, parents=TopParents(top=1))
    found = results(plan, lambda place: {0: 0.99, 1: 0.6, 2: 0.6}.get(place, 0.9), dict.fromkeys((1, 2), STOPPED))
    assert parents(plan, found) == [3]


def test_where_every_configuration_lost_as_many_seeds_the_mean_decides(sweep: Sweep) -> None:
    plan = with_compression(sweep, parents=TopParents(top=1))
    found = results(plan, float, dict.fromkeys((0, 3, 6, 11), STOPPED))
    assert parents(plan, found) == [9]


def test_a_configuration_that_was_stopped_altogether_is_not_compressed(sweep: Sweep) -> None:
    plan = with_compression(sweep, parents=TopParents(top=4))
    found = results(plan, float, dict.fromkeys((9, 10, 11), STOPPED))
    assert parents(plan, found) == [6, 3, 0]
    assert settled(plan, found)


def test_every_seed_has_its_own_fate(sweep: Sweep) -> None:
    plan = with_compression(sweep, parents=TopParents(top=1), seeds="all")
    status = dict.fromkeys([*range(9), 10], Status.DIVERGED)
    found = results(plan, float, status)
    assert parents(plan, found) == [9, 11]
    assert {decision.reason for decision in outlook(plan, found).dropped} == {
        f"its parent {plan.trials[10].id} ended as diverged"
    }
    kinds = [type(decision) for decision in decide_variants(plan, found)]
    assert kinds == [Ready, Ready, Dropped, Dropped, Ready, Ready]
    lost = [decision.trial for decision in outlook(plan, found).dropped]
    assert {trial.config.parent for trial in lost if trial} == {plan.trials[10].id}  # type: ignore[union-attr]
    assert len({trial.id for trial in outlook(plan, found).known}) == 6


def test_when_nothing_is_left_the_reason_is_told(sweep: Sweep) -> None:
    plan = with_compression(sweep)
    status = {place: Status.DIVERGED if place % 2 else Status.FAILED for place in range(12)}
    found = results(plan, float, status)
    assert further_trials(plan, found) == ()
    assert settled(plan, found)
    assert len(outlook(plan, found).dropped) == 4
    assert "3 diverged, 3 failed" in outlook(plan, found).dropped[0].reason
    assert len({trial.id for trial in outlook(plan, found).known}) == 4


def test_more_parents_than_configurations_lose_nothing(sweep: Sweep) -> None:
    """Of four configurations the worst failed, so it is the fourth; a fifth was never there."""
    plan = with_compression(sweep, parents=TopParents(top=5))
    found = results(plan, float, dict.fromkeys(range(3), Status.DIVERGED))
    lost = [decision.trial for decision in outlook(plan, found).dropped]
    assert [trial and trial.config.parent for trial in lost] == [plan.trials[0].id] * 2 + [None] * 2  # type: ignore


def test_a_figure_that_is_not_finite_is_never_the_best(sweep: Sweep) -> None:
    plan = with_compression(sweep, parents=TopParents(top=1))
    assert parents(plan, results(plan, lambda place: math.inf if place > 8 else float(place))) == [6]


def test_without_compression_nothing_waits(sweep: Sweep) -> None:
    plan = expand(sweep.model_copy(update={"compression": None}))
    assert plan.pending == ()
    assert settled(plan, {})


def test_the_results_order_does_not_matter(sweep: Sweep) -> None:
    plan = with_compression(sweep, parents=TopParents(top=2), seeds="all")
    found = results(plan, lambda place: (place * 7) % 5)
    assert further_trials(plan, found) == further_trials(plan, dict(reversed(found.items())))


# -- work -------------------------------------------------------------------------------------------------------------


def test_work_is_whole_steps_of_the_budget(sweep: Sweep) -> None:
    plan = expand(sweep)  # 1000 examples
    assert [work_of(trial.config, 1151) for trial in plan.trials[::6]] == [Work(62, 992), Work(31, 992)]
    training = plan.trials[0].config.training
    chain = (Prune(fine_tune=FineTune(budget_fraction=0.5)), FineTune(budget_fraction=0.1), Int8())
    assert budget_fractions(chain) == [0.5, 0.1]
    assert chain_work(chain, training, 1151) == Work(31 + 6, 496 + 96)
    assert chain_work((Distill(),), training, 1151) == work_of(plan.trials[0].config, 1151)
    assert chain_work((), training, 1151) == Work()


def test_schedules_orders_and_meetings_are_axes_and_one_worker_meets_nobody(tmp_path: Path) -> None:
    parameters = """{batch_size: 16, learning_rate: 0.1, num_workers: {values: [1, 2]},
                    batch_schedule: {values: [fixed, {name: grow_at, fractions: [0.5], factor: 4}]},
                    data_order: {values: [stored, sorted]}, sync_every_steps: {values: [null, 1, 8]}}"""
    text = sweep_text(
        parameters=parameters.replace("\n", " "), noise_scale="{every_steps: 8}", compression=None, goals=None
    )
    plan = expand(load_text(tmp_path, text))
    trainings = [trial.config.training for trial in plan.trials]
    assert len(trainings) == 2 * 2 * (1 + 3)
    assert {t.sync_every_steps for t in trainings if t.num_workers == 2} == {None, 1, 8}
    assert {t.noise_scale.every_steps for t in trainings if t.noise_scale} == {8}
    columns = baseline_table(plan).columns
    assert {"data_order", "batch_schedule", "sync_every_steps"} <= set(columns)
    assert {work_of(trial.config, None).steps for trial in plan.trials} == {62, 32 + 7}
    names = varying_settings(trial.config for trial in plan.trials)
    words = settings_words(plan.trials[-1].config, names)
    assert words == "2 workers, sorted, grow_at factor=4, every 8 steps"


def test_one_worker_reads_all_rows_however_they_are_shared(tmp_path: Path) -> None:
    """So it is one trial; with two workers each way is another."""
    parameters = (
        "{batch_size: 16, learning_rate: 0.1, num_workers: {values: [1, 2]}, sharding: {values: [block, stripe]}}"
    )
    plan = expand(load_text(tmp_path, sweep_text(parameters=parameters, compression=None, goals=None)))
    assert [(t.training.num_workers, t.training.sharding) for t in plan.trials] == [
        (1, "stripe"),
        (2, "block"),
        (2, "stripe"),
    ]
    for n_rows in (1, 7, 64):
        block, stripe = (Shard(n_rows, mode=mode, seed=3).rows(0, 3 * n_rows) for mode in ("block", "stripe"))
        assert block.tolist() == stripe.tolist()


GROWING = "{{batch_size: {{values: [2, 16]}}, learning_rate: 0.1, batch_schedule: {schedule}}}"


@pytest.mark.parametrize(
    ("schedule", "budget", "evaluations", "stuck"),
    [
        ("grow_with_noise", "{examples: 1000}", "10", ["2"]),  # 2 rows are not divided; of 62 steps 13 are measured
        ("grow_with_noise", "{examples: 250}", "10", ["2", "16"]),  # 3 of 15: too few
        ("grow_with_noise", "{examples: 1000}", "1", ["2", "16"]),  # no reading but the last
        ("grow_with_noise", "{epochs: 1}", "10", ["2"]),
        ("grow_at", "{examples: 100}", "1", []),
        ("fixed", "{examples: 100}", "1", []),
    ],
)
def test_a_batch_that_can_never_grow_with_the_noise_is_noted(
    tmp_path: Path, schedule: str, budget: str, evaluations: str, stuck: list[str]
) -> None:
    parameters = GROWING.format(schedule=schedule)
    text = sweep_text(parameters=parameters, budget=budget, evaluations=evaluations, compression=None, goals=None)
    notes = [note for note in expand(load_text(tmp_path, text)).notes if "grow" in note]
    assert [note.partition(":")[0] for note in notes] == (
        [f"grow_with_noise never grows at batch_size {', '.join(stuck)}"] if stuck else []
    )


def test_a_swept_option_of_the_task_is_an_axis(tmp_path: Path) -> None:
    swept = "{name: digits_cnn, options: {channels: 8, norm: {values: [batch, group]}}}"
    plan = expand(load_text(tmp_path, sweep_text(parameters=GRID, task=swept)))
    options = [trial.config.task.options for trial in plan.trials]
    assert len(plan.trials) == 2 * 2 * 2 * 3
    assert [o["norm"] for o in options[:12]] == ["batch"] * 6 + ["group"] * 6, "within each batch size"
    assert {o["channels"] for o in options} == {8}
    assert len({trial.id for trial in plan.trials}) == len(plan.trials)
    assert "norm" in baseline_table(plan).columns


@pytest.mark.parametrize("parents", ["all", "best_per_batch_size", {"top": 2}])
def test_results_one_by_one_in_any_order_come_to_the_same_as_all_at_once(sweep: Sweep, parents: object) -> None:
    plan = with_compression(sweep, parents=parents)
    found = results(plan, float)
    endings = [Status.COMPLETED, Status.COMPLETED, Status.DIVERGED, Status.FAILED, Status.STOPPED_EARLY]
    draw = random.Random(1)  # noqa: S311 - not for secrets
    found = {trial: one.model_copy(update={"status": draw.choice(endings)}) for trial, one in found.items()}
    whole = outlook(plan, found)
    for _ in range(5):
        ahead, order = Outlook(plan), list(found.values())
        draw.shuffle(order)
        for number, result in enumerate(order):
            assert ahead.total == len(plan.trials) + ahead.beyond + ahead.waiting
            assert ahead.is_settled == (not ahead.waiting)
            ahead.learn([result, *order[:number]])  # what it knows already is passed over
        assert ahead.decisions == whole.decisions
        assert ahead.trials == whole.trials
        assert {trial.id for trial in ahead.asked} == {trial.id for trial in whole.trials}
        assert ahead.total == len(plan.trials) + len({trial.id for trial in whole.known})
