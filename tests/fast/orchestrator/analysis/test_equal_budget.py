"""Readings at equal examples and equal steps, and what they say: overfitting, or fewer steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.analysis.common_readings import checkpoints, on_line
from orchestrator.analysis.comparison import compare
from orchestrator.analysis.equal_budget import Behind, Finding, behind
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.plan_file import StoredTrial
from orchestrator.analysis.statistics import Verdict
from orchestrator.analysis.table import SweepTable, make_table
from orchestrator.report.batch_export import equal_readings
from orchestrator.report.batch_section import equal_grid
from orchestrator.report.export import to_dict
from orchestrator.report.page import to_page
from orchestrator.sweep.labels import settings_words
from orchestrator.sweep.spec import Mode, Objective
from orchestrator.wording.batch_size import choice_words, finding_words
from tests.support.sample_sweep import baseline_config, sample_plan, sample_results
from trainables.config.batching import report_steps
from trainables.config.optimizers import AdamW
from trainables.config.schedules import WarmupCosine
from trainables.config.training import GrowAt, Training
from trainables.config.trial import BaselineConfig, trial_id
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult

Curve = Callable[[int, int, int], tuple[float, float]]  # batch size, step, seed -> validation, training accuracy


def table_of(
    curve: Curve,
    batch_sizes: tuple[int, ...] = (16, 256),
    seeds: int = 4,
    *,
    each: Callable[[Training], Iterable[Training]] = lambda training: [training],
    examples: int = 40_000,
    evaluations: int = 20,
    mode: Mode = "max",
) -> SweepTable:
    """Runs that follow a law, of accuracy, or of loss where less is better; `each` makes several of one."""

    def several(config: BaselineConfig) -> list[BaselineConfig]:
        return [config.model_copy(update={"training": training}) for training in each(config.training)]

    return table_of_configs(several, lambda config: curve, batch_sizes, seeds, examples, evaluations, mode)


def table_of_norms(norms: dict[str, Curve], batch_sizes: tuple[int, ...] = (16, 256), seeds: int = 4) -> SweepTable:
    """The same, with runs for every value of an option of the task, each with a law of its own."""

    def several(config: BaselineConfig) -> list[BaselineConfig]:
        tasks = [config.task.model_copy(update={"options": {"norm": norm}}) for norm in norms]
        return [config.model_copy(update={"task": task}) for task in tasks]

    return table_of_configs(several, lambda config: norms[str(config.task.options["norm"])], batch_sizes, seeds)


def table_of_configs(
    several: Callable[[BaselineConfig], list[BaselineConfig]],
    curve_of: Callable[[BaselineConfig], Curve],
    batch_sizes: tuple[int, ...],
    seeds: int,
    examples: int = 40_000,
    evaluations: int = 20,
    mode: Mode = "max",
) -> SweepTable:
    plan = sample_plan(batch_sizes=batch_sizes, multipliers=(1.0,), seeds=tuple(range(seeds)), chains=())
    configs = [new for t in plan.trials if isinstance(t.config, BaselineConfig) for new in several(t.config)]
    trials = tuple(StoredTrial(id=trial_id(config), config=config) for config in configs)
    name = "accuracy" if mode == "max" else "loss"
    results = {}
    for trial, config in zip(trials, configs, strict=True):
        training, history = config.training, []
        for step in report_steps(steps_within(training, examples), evaluations):
            validation, train = curve_of(config)(training.batch_size, step, training.seed)
            metrics = {f"val_{name}": validation, f"train_{name}": train}
            done = examples_after(training, step, examples)
            history.append(Report(step=step, examples=done, seconds=step, metrics=metrics))
        final = {key: Estimate(value=value) for key, value in history[-1].metrics.items()}
        results[trial.id] = TrialResult(
            id=trial.id, config=config, status=Status.COMPLETED, history=tuple(history), metrics=final
        )
    objective = Objective(metric=f"val_{name}", mode=mode)
    return make_table(plan.model_copy(update={"trials": trials, "objective": objective}), results)


def steps_within(training: Training, budget: int) -> int:
    """A batch that grows is twice as large in the second half of the budget."""
    half = budget // 2 // training.batch_size
    return budget // training.batch_size if training.batch_schedule.name == "fixed" else half + half // 2


def examples_after(training: Training, step: int, budget: int) -> int:
    half = budget // 2 // training.batch_size
    grown = 0 if training.batch_schedule.name == "fixed" else max(0, step - half)
    return (step + grown) * training.batch_size


def noise(seed: int, batch_size: int) -> float:
    return 0.001 * math.sin(7 * seed + batch_size)


def learning(step: float) -> float:
    return 0.95 - 0.5 * math.exp(-step / 150)


def behind_of(table: SweepTable) -> list[Behind]:
    return behind(Evidence(table))


def settings_in(table: SweepTable, found: Behind) -> tuple[str, str]:
    """Of the one, and of what it is held against."""
    own, against = (settings_words(c.config, table.settings) for c in (found.configuration, found.against))
    return own, against


def only(table: SweepTable) -> Behind:
    (found,) = behind_of(table)
    assert (found.batch_size, found.best) == (256, 16)
    return found


def test_a_large_batch_that_took_fewer_steps_is_not_said_to_overfit() -> None:
    """Both learn the same from a step; after equal examples the large one has taken a sixteenth of the steps."""
    found = only(table_of(lambda b, s, seed: (learning(s) + noise(seed, b), learning(s) + 0.02 + noise(seed, b))))
    assert found.finding is Finding.FEWER_STEPS
    assert found.validation is not None
    assert found.validation.mean < -0.1
    assert found.at_equal_steps is not None
    assert abs(found.at_equal_steps.mean) < 0.02


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_large_batch_that_overfits_is_said_to(mode: Mode) -> None:
    """On training data the two differ by noise alone, on validation data by 0.04 more."""
    found = only(table_of(generalising(lost=0.04, mode=mode), seeds=6, mode=mode))
    assert found.finding is Finding.OVERFITS
    assert found.gap is not None
    assert found.gap.mean == pytest.approx(-0.04 if mode == "max" else 0.04, abs=0.01)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_what_is_not_seen_on_training_data_is_no_proof_of_overfitting(mode: Mode) -> None:
    """It loses 0.012 on both kinds of data, and on training data, where noise is larger, that is p = 0.06."""
    found = only(table_of(generalising(lost=0.0, mode=mode, learned=0.012, train_noise=0.016), seeds=6, mode=mode))
    assert found.validation is not None
    assert found.training is not None
    assert found.validation.verdict is Verdict.WORSE
    assert found.training.verdict is Verdict.NO_DIFFERENCE
    assert (found.training.mean < 0) == (mode == "max"), "on training data it is behind as well"
    assert found.finding is Finding.WORSE_ON_VALIDATION


def test_one_that_learns_less_and_loses_more_is_not_acquitted() -> None:
    found = only(table_of(generalising(lost=0.04, learned=0.04), seeds=6))
    assert (found.finding, found.more_on_validation) == (Finding.WORSE_STEPS, True)
    assert finding_words(found) == (
        "worse on training data too, and by more on validation data; also worse after equal steps, so fewer steps do "
        "not explain it"
    )


def generalising(lost: float, mode: Mode = "max", learned: float = 0.0, train_noise: float = 0.004) -> Curve:
    """Batch 256 is `learned` behind on all data, and `lost` more on validation data; seeds are independent noise."""

    def curve(batch: int, step: int, seed: int) -> tuple[float, float]:
        draw = np.random.default_rng([seed, batch]).normal(0, 1, 2)
        behind = batch == 256
        train = 0.9 + 0.02 * step * batch / 40_000 - learned * behind
        validation = train - 0.01 - lost * behind + 0.004 * draw[0]
        train += train_noise * draw[1]
        return (validation, train) if mode == "max" else (1 - validation, 1 - train)

    return curve


def test_a_batch_that_learns_less_from_every_step_is_told_apart() -> None:
    def curve(batch: int, step: int, seed: int) -> tuple[float, float]:
        value = learning(step) - (0.1 if batch == 256 else 0.0) + noise(seed, batch)
        return value, value

    assert only(table_of(curve)).finding is Finding.WORSE_STEPS


def test_a_small_batch_that_is_behind_did_not_take_fewer_steps() -> None:
    (found,) = behind_of(
        table_of(lambda b, s, seed: (learning(s * b / 100) - (0.1 if b == 16 else 0.0) + noise(seed, b),) * 2)
    )
    assert (found.batch_size, found.best, found.took_fewer_steps) == (16, 256, False)
    assert (found.finding, found.more_on_validation) == (Finding.WORSE_ON_BOTH, False)


def test_a_batch_that_grew_took_fewer_steps_than_one_that_did_not() -> None:
    """At one batch size: the same learned from a step, and three steps for every four."""

    def both(training: Training) -> list[Training]:
        return [training, training.model_copy(update={"batch_schedule": GrowAt(factor=2)})]

    table = table_of(lambda b, s, seed: (learning(s) * (1 + noise(seed, b)),) * 2, (256,), each=both)
    (found,) = behind_of(table)
    assert settings_in(table, found) == ("grow_at", "fixed")
    assert found.took_fewer_steps
    assert (found.finding, found.more_on_validation) == (Finding.FEWER_STEPS, False)


def test_at_equal_steps_two_schedules_are_at_different_phases() -> None:
    def cosine(training: Training) -> list[Training]:
        return [training.model_copy(update={"schedule": WarmupCosine()})]

    for lost in (0.0, 0.1):

        def curve(batch: int, step: int, seed: int, lost: float = lost) -> tuple[float, float]:
            value = learning(step) + noise(seed, batch) - (lost if batch == 256 else 0.0)
            return value, value

        plain, found = only(table_of(curve)), only(table_of(curve, each=cosine))
        assert (plain.in_phase, found.in_phase) == (True, False)
        assert found.finding is (Finding.WORSE_STEPS if lost else Finding.FEWER_STEPS)
        assert finding_words(found).endswith("but the learning-rate schedules are at different phases there")


def test_the_demo_has_a_common_number_of_steps_for_all_its_batch_sizes() -> None:
    table = table_of(
        lambda b, s, seed: (learning(s) + noise(seed, b),) * 2, (16, 64, 256), examples=6000, evaluations=10
    )
    found = {(one.batch_size, one.best): one for one in behind_of(table)}
    assert found[256, 16].steps == 23  # where batch 256 ends; batch 16 is read after 5, 10, 19 and 38
    assert found[64, 16].steps == 93
    assert all(one.at_equal_steps is not None and one.finding is Finding.FEWER_STEPS for one in found.values())


def level(value: float, slope: float = 0.0) -> Curve:
    """The same on both kinds of data; `slope` is lost at every doubling of the batch size."""

    def curve(batch: int, step: int, seed: int) -> tuple[float, float]:
        found = value + 0.01 * step * batch / 40_000 - slope * math.log2(batch / 16)
        return (found * (1 + noise(seed, batch)),) * 2

    return curve


def test_batch_sizes_are_compared_at_one_setting_and_settings_at_one_batch_size() -> None:
    """Batch norm loses 0.1 from 16 to 256, group norm nothing, and is 0.05 behind at 16: four sentences, all true."""
    table = table_of_norms({"batch": level(0.9, slope=0.025), "group": level(0.85)})
    found = {}
    for one in behind_of(table):
        own, against = settings_in(table, one)
        found[one.batch_size, own, one.best, against] = one
    group = [key for key in found if key[1] == key[3] == "group"]
    assert set(found) == {
        (256, "batch", 16, "batch"),
        *group,
        (16, "group", 16, "batch"),
        (256, "batch", 256, "group"),
    }
    assert len(found) == 4
    means = {key: one.validation.mean for key, one in found.items() if one.validation is not None}
    assert means[256, "batch", 16, "batch"] == pytest.approx(-0.1, abs=0.005)
    assert means[16, "group", 16, "batch"] == pytest.approx(-0.05, abs=0.005)
    assert means[256, "batch", 256, "group"] == pytest.approx(-0.05, abs=0.005)
    (alike,) = group
    assert found[alike].finding is Finding.NO_DIFFERENCE
    comparison = compare(table)
    sentences = [record["sentence"] for record in to_dict(comparison)["behind"]]
    for words in (
        "Batch 256 against 16, batch: ",
        "Batch 16, group against batch: ",
        "Batch 256, batch against group: ",
    ):
        assert any(sentence.startswith(words) for sentence in sentences)
    grid = equal_grid(comparison, "examples")
    assert grid is not None
    assert {("256", "batch"), ("256", "group")} <= {(batch, norm) for batch, norm, *_ in grid[1]}
    assert not found[16, "group", 16, "batch"].more_on_validation


def test_batch_sizes_are_compared_where_carried_settings_differ_at_each() -> None:
    """Weight decay is carried: at no two batch sizes is it worded alike, and its choices stand in the same order."""

    def carried(training: Training) -> list[Training]:
        decays = [decay * 16 / training.batch_size for decay in (0.3, 0.03)]
        return [training.model_copy(update={"optimizer": AdamW(weight_decay=decay)}) for decay in decays]

    table = table_of(level(0.9, slope=0.025), each=carried)
    words = {
        (place.batch_size, getattr(place.settings[0], "weight_decay", None)): choice_words(table, choice)
        for place, choice in Evidence(table).choices.items()
    }
    assert words == {
        (16, 0.3): (first := "adamw weight_decay=0.3 at batch size 16"),
        (16, 0.03): (second := "adamw weight_decay=0.03 at batch size 16"),
        (256, 0.01875): first,
        (256, 0.001875): second,
    }
    across = {settings_in(table, b) for b in behind_of(table) if b.batch_size != b.best}
    assert len(across) == 2
    assert all("weight_decay" in words for pair in across for words in pair)


def test_no_difference_and_one_seed_claim_nothing() -> None:
    same = behind_of(table_of(lambda b, s, seed: (learning(s * b / 32) + 20 * noise(seed, b),) * 2))
    assert same[0].finding is Finding.NO_DIFFERENCE
    alone = behind_of(table_of(lambda b, s, seed: (learning(s), learning(s)), seeds=1))
    assert alone[0].finding is Finding.ONE_SEED
    assert finding_words(alone[0]) == "not determined (one seed)"


def test_values_between_readings_and_none_outside() -> None:
    history = tuple(
        Report(step=s, examples=8 * s, seconds=s, metrics={"val_loss": v}) for s, v in ((10, 2.0), (20, 1.0), (30, 0.8))
    )
    row = table_of(lambda b, s, seed: (0.5, 0.5)).rows[0]
    assert row.result is not None
    row = replace(row, result=row.result.model_copy(update={"history": history}))
    assert on_line(row.curve("steps", "val_loss"), 15) == 1.5
    assert on_line(row.curve("examples", "val_loss"), 160) == 1.0
    assert on_line(row.curve("steps", "val_loss"), 30) == pytest.approx(0.8)
    for at in (5, 31):
        assert on_line(row.curve("steps", "val_loss"), at) is None
    assert on_line(row.curve("steps", "val_accuracy"), 15) is None


def test_checkpoints_are_common_to_all() -> None:
    table = table_of(lambda b, s, seed: (0.5, 0.5), batch_sizes=(16, 64, 256))
    places = checkpoints(table)
    assert len(places.examples) == 10
    for row in table.rows:
        assert row.result is not None
        last = row.result.history[-1]
        assert places.examples[-1] <= last.examples
        assert all(on_line(row.curve("examples", "val_accuracy"), at) == 0.5 for at in places.examples[1:])
    assert places.steps == (
        4,
        8,
        16,
        32,
        64,
        128,
        256,
        512,
    )  # 256 is read from 1 to 156, 64 from 4 to 625, 16 from 16 on


def test_every_baseline_has_both_readings_in_the_json() -> None:
    plan = sample_plan()
    comparison = compare(make_table(plan, {r.id: r for r in sample_results(plan)}))
    trials = {trial["id"]: trial for trial in to_dict(comparison)["trials"]}
    some = trial_id(baseline_config(32, 1.0, 0))
    record = trials[some]["equal_examples"][-1]
    assert set(record) == {"examples", "val_accuracy", "train_accuracy", "val_loss", "train_loss"}
    assert record["val_accuracy"] < record["train_accuracy"]
    assert {record["steps"] for record in trials[some]["equal_steps"]} == set(checkpoints(comparison.table).steps)
    assert all(("equal_steps" in t) == (t["kind"] == "baseline") for t in trials.values())
    assert equal_readings(comparison)[some]["equal_examples"][-1] == record
    page = to_page(comparison)
    assert "Overfitting, or fewer steps?" in page
    assert "Batch 128 against" in page or "Batch 8 against" in page


def test_nothing_has_run() -> None:
    table = make_table(sample_plan(), {})
    assert checkpoints(table).examples == ()
    assert behind_of(table) == []
    assert "Overfitting, or fewer steps?" not in to_page(compare(table))
