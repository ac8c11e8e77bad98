"""From stored files to configurations: what belongs together, what is missing, what is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.analysis.plan_file import TableError, save_plan
from orchestrator.analysis.result_file import save_result
from orchestrator.analysis.statistics import Basis
from orchestrator.analysis.table import SweepTable, load_table, make_table
from orchestrator.analysis.time_to_target import steps_to_target, to_target
from orchestrator.analysis.tuned_rates import tuned
from tests.support.sample_sweep import CHAINS, sample_plan, sample_results, write_sample
from trainables.estimate import Estimate
from trainables.results import Status
from trainables.storage import Storage, sweep_file, trial_file


def table_of(**options: object) -> SweepTable:
    plan = sample_plan(**options)  # type: ignore[arg-type]
    return make_table(plan, {result.id: result for result in sample_results(plan)})


def test_trials_that_differ_only_by_seed_are_one_configuration() -> None:
    table = table_of(variant_seeds=(0, 1, 2))
    assert len(table.baselines) == 9
    assert len(table.variants) == 3 * len(CHAINS)
    for configuration in table.configurations:
        assert [row.seed for row in configuration.rows] == [0, 1, 2]
        assert len({(row.compression, row.config.training.batch_size) for row in configuration.rows}) == 1


def test_a_mean_over_seeds_is_over_their_figures() -> None:
    configuration = table_of().baselines[0]
    summary = configuration.summary("val_accuracy")
    values = [row.value("val_accuracy") for row in configuration.rows]
    assert summary is not None
    assert summary.mean == pytest.approx(sum(v for v in values if v is not None) / 3)
    assert (summary.n, summary.basis) == (3, Basis.SEEDS)


def test_one_seed_keeps_its_own_interval_and_says_so() -> None:
    configuration = table_of(seeds=(1,)).baselines[0]
    summary = configuration.summary("val_accuracy")
    estimate = configuration.rows[0].result.metrics["val_accuracy"]  # type: ignore[union-attr]
    assert summary is not None
    assert (summary.low, summary.high, summary.basis) == (estimate.low, estimate.high, Basis.WITHIN)
    parameters = configuration.summary("parameters")
    assert parameters is not None
    assert parameters.basis is Basis.NONE


def test_only_trials_that_ran_to_their_end_count() -> None:
    table = table_of()
    (broken,) = [c for c in table.baselines if c.broken]
    assert broken.broken[0].status == Status.DIVERGED
    assert sorted(broken.values("val_accuracy")) == [0, 1]


def test_variants_know_their_parent_and_its_uncompressed_self() -> None:
    table = table_of()
    for variant in table.variants:
        (row,) = variant.rows
        assert row.parent in {parent.id for parent in table.parent_of(variant).rows}
        uncompressed = table.uncompressed(row)
        assert uncompressed is not None
        assert (uncompressed.parent, uncompressed.compression) == (row.parent, "uncompressed")


def test_the_envelope_takes_the_best_rate_and_leaves_out_one_that_lost_a_seed() -> None:
    table = table_of()
    entries = tuned(table)
    assert [entry.batch_size for entry in entries] == [8, 32, 128]
    for entry in entries:
        sound = [c for c in entry.rates if not c.broken]
        means = [c.summary("val_accuracy").mean for c in sound]  # type: ignore[union-attr]
        assert entry.best.summary("val_accuracy").mean == max(means)  # type: ignore[union-attr]


def test_a_rate_that_lost_a_seed_to_early_stopping_is_not_the_best_while_another_is_whole() -> None:
    plan = sample_plan(batch_sizes=(8,), chains=())
    results = {result.id: result for result in sample_results(plan)}
    ranked = []
    for _ in range(4):  # at last every rate has lost a seed, and the mean of the others decides again
        table = make_table(plan, results)
        (entry,) = tuned(table)
        ranked.append(entry.best.key)
        row = entry.best.rows[0]
        assert row.result is not None
        assert entry.best.broken == ()
        results[row.id] = row.result.model_copy(update={"status": Status.STOPPED_EARLY, "metrics": {}})
    assert len(set(ranked)) == 3
    assert [len(c.lost) for c in table.baselines] == [1, 1, 1]
    assert all(c.broken == () for c in table.baselines)


def test_a_best_rate_at_the_end_of_its_grid_is_flagged() -> None:
    edges = {entry.batch_size: entry.edge for entry in tuned(table_of(multipliers=(1.0, 2.0)))}
    assert set(edges.values()) <= {"lowest", "highest"}
    assert {entry.edge for entry in tuned(table_of(multipliers=(1.0,)))} == {None}


def test_the_target_is_reached_just_before_the_first_reading_that_is_there() -> None:
    table = table_of()
    for entry in tuned(table):
        outcome = to_target(entry.best, table.plan.objective)
        assert outcome is not None
        assert (len(outcome.crossings), outcome.seeds) == (3, 3)
        first = entry.best.rows[0].result.history  # type: ignore[union-attr]
        there = next(i for i, report in enumerate(first) if report.metrics["val_accuracy"] >= 0.95)
        reached = entry.best.reached(table.plan.objective)[0]
        assert reached is not None
        assert (first[there - 1].step if there else 0) < reached.steps <= first[there].step


def test_both_tables_say_the_same_of_a_batch_size_at_one_rate() -> None:
    """The training table and the table of steps to the target read the same moment."""
    table = table_of(multipliers=(1.0,))
    rows = {row.batch_size: row for row in steps_to_target(table)}
    for entry in tuned(table):
        outcome = to_target(entry.best, table.plan.objective)
        assert outcome is not None
        assert outcome.steps == rows[entry.batch_size].steps
        assert outcome.seconds == rows[entry.batch_size].seconds


def test_a_target_out_of_reach_and_no_target() -> None:
    for table in (table_of(target=0.999), table_of(target=None)):
        assert to_target(table.baselines[0], table.plan.objective) is None


# -- reading the storage ----------------------------------------------------------------------------------------------


def test_what_was_stored_is_what_is_loaded(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    plan = write_sample(storage)
    table = load_table(storage, "sample")
    assert table.plan == plan
    assert table.rows == make_table(plan, {r.id: r for r in sample_results(plan)}).rows


def test_a_trial_without_a_result_is_waiting(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    plan = sample_plan()
    save_plan(storage, plan)
    table = load_table(storage, "sample")
    assert {row.status for row in table.rows} == {"waiting"}
    assert table.baselines[0].summary("val_accuracy") is None


def test_a_damaged_result_counts_as_waiting_and_is_named(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    plan = write_sample(storage)
    storage.write(trial_file(plan.trials[4].id, "result.json"), b'{"id": "torn')
    table = load_table(storage, "sample")
    (damage,) = table.damaged
    assert damage.startswith(storage.display(trial_file(plan.trials[4].id, "result.json")))
    assert table.rows[4].status == "waiting"


def test_an_infinity_that_was_really_seen_comes_back(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    plan = write_sample(storage)
    result = next(iter(sample_results(plan)))
    odd = result.model_copy(update={"metrics": {**result.metrics, "val_loss": Estimate(value=float("inf"))}})
    save_result(storage, odd)
    assert load_table(storage, "sample").rows[0].value("val_loss") == float("inf")


def test_an_unknown_sweep_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with pytest.raises(TableError, match="holds no sweep yet"):
        load_table(storage, "sample")
    write_sample(storage)
    with pytest.raises(TableError, match=r"it holds sample \(did you mean 'sample'\?\)"):
        load_table(storage, "sampel")


def test_a_plan_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write_sealed(sweep_file("odd", "plan.json"), b'{"name": "odd"}')
    with pytest.raises(TableError, match="cannot be read"):
        load_table(storage, "odd")


def test_a_plan_of_a_newer_version_is_read(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    content = sample_plan(name="new").model_dump_json().replace('"name":"new"', '"name":"new","since":"later"', 1)
    storage.write_sealed(sweep_file("new", "plan.json"), content.encode())
    assert load_table(storage, "new").plan.name == "new"
