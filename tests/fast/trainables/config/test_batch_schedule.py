"""Batches that grow: when and by how much, that every row is still read once, and that a resume is exact."""

import itertools
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from orchestrator.planning.workload import Work, work_of
from tests.support.training_samples import Regression, bits, build, differing, tables, training, worker
from trainables.config.batch_schedule import growth_with_noise, planned_growth, rate_factor, work_of_budget
from trainables.config.training import Budget, FixedBatch, GrowAt, GrowWithNoise, NoiseScale
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.data.table import Table
from trainables.tasks.base import Task
from trainables.tasks.task_data import TaskData
from trainables.training.gradient_noise import GradientNoise
from trainables.training.loop import train
from trainables.training.noise_scale import steps_between_measurements

ALWAYS = NoiseScale(every_steps=1, divided_every_steps=1)


class Watched(Regression):
    """Remembers the rows of every forward pass of the training."""

    def __init__(self):
        super().__init__(dropout=0.0, batch_norm=False)
        self.seen = []

    def forward(self, model, batch):
        if model.training:
            self.seen.append(batch["features"][:, 0].clone())
        return super().forward(model, batch)


def run(folder, schedule, budget=512, unit="examples", noise_scale=None, **changes):
    settings = training(
        budget=Budget(unit=unit, amount=budget), batch_schedule=schedule, noise_scale=noise_scale, **changes
    )
    task = Watched()
    model = build(task)
    noise = GradientNoise(settings, 64, worker(folder))
    history = list(train(model, task, tables(), settings, worker(folder), noise=noise))
    return task, history, settings


def baseline(settings):
    return BaselineConfig(task=TaskConfig(name="t", data="", code=""), training=settings)


def test_it_grows_at_the_given_examples_by_accumulation_and_reads_every_row_once_an_epoch(tmp_path):
    schedule = GrowAt(fractions=(0.25, 0.5), factor=2)
    task, history, settings = run(tmp_path, schedule, 512, batch_size=8, micro_batch_limit=4)
    assert {len(rows) for rows in task.seen} == {4}, "the micro-batch stays"
    assert [(r.step, r.examples) for r in history[3:]] == [(16, 128), (24, 256), (28, 384), (32, 512)]
    assert [r.examples for r in history[:3]] == [16, 32, 64], "the early ones"
    rows = torch.cat(task.seen)
    for epoch in rows.split(64):
        assert len(set(epoch.tolist())) == 64
    assert work_of(baseline(settings), 64) == Work(32, 512)


def test_examples_are_the_fractions_that_they_are_of_the_budget(tmp_path):
    """With a budget in epochs too: 8 of 64 rows."""
    for unit, amount in (("examples", 512), ("epochs", 8)):
        runs = [
            run(tmp_path, schedule, amount, unit)
            for schedule in (GrowAt(examples=(128, 256), factor=2), GrowAt(fractions=(0.25, 0.5), factor=2))
        ]
        (_, history, settings), (_, expected, _) = runs
        assert [(r.step, r.examples) for r in history] == [(r.step, r.examples) for r in expected]
        assert work_of(baseline(settings), 64) == Work(history[-1].step, history[-1].examples)


def test_a_boundary_within_a_step_waits_for_its_end_and_the_budget_is_not_exceeded(tmp_path):
    schedule = GrowAt(fractions=(0.3,), factor=4)
    _, history, settings = run(tmp_path, schedule, 100, batch_size=8)
    # 30 examples are passed after 4 steps of 8; then two of 32 make 96
    assert (history[-1].step, history[-1].examples) == (6, 96)
    assert len({report.step for report in history}) == len(history) <= settings.evaluations + 3


@given(
    st.integers(1, 64),
    st.integers(1, 2000),
    st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True),
    st.integers(2, 5),
)
def test_the_planned_work_is_what_a_walk_through_the_steps_finds(batch_size, budget, percents, factor):
    of_budget = GrowAt(fractions=tuple(sorted(percent / 100 for percent in percents)), factor=factor)
    for schedule in (of_budget, GrowAt(examples=tuple(sorted(percents)), factor=factor)):
        steps = examples = 0
        while examples + (size := batch_size * planned_growth(schedule, Fraction(budget), examples)) <= budget:
            steps, examples = steps + 1, examples + size
        assert work_of_budget(schedule, Fraction(budget), batch_size) == (steps, examples)


@pytest.mark.parametrize(("rule", "factor"), [("unchanged", 1.0), ("linear", 4.0), ("sqrt", 2.0)])
def test_the_learning_rate_follows_if_it_is_told_to(tmp_path, rule, factor):
    schedule = GrowAt(fractions=(0.5,), factor=4, learning_rate=rule)
    _, history, _ = run(tmp_path, schedule, 512, learning_rate=0.01)
    assert [report.metrics["learning_rate"] for report in history] == pytest.approx([0.01] * 5 + [0.01 * factor] * 2)
    assert rate_factor(FixedBatch(), 4) == 1.0


def test_it_grows_with_the_noise_scale_as_far_as_that_goes():
    schedule = GrowWithNoise(factor=2, at_most=8)
    assert growth_with_noise(schedule, 1, 8, 15.9) == 1
    assert growth_with_noise(schedule, 1, 8, 16.0) == 2
    assert growth_with_noise(schedule, 4, 8, 1e9) == 8
    assert growth_with_noise(schedule, 8, 8, 1e9) == 8
    assert growth_with_noise(schedule, 2, 8, None) == 2
    assert growth_with_noise(FixedBatch(), 1, 8, 1e9) == 1
    assert growth_with_noise(GrowAt(), 1, 8, 1e9) == 1


class MostlyNoise(Task):
    """Noiseless least squares in 500 dimensions, where a batch of 64 is mostly noise: B_simple = 500 + 1."""

    def build_model(self, width=1.0):
        model = nn.Linear(500, 1, bias=False)
        nn.init.ones_(model.weight)
        return model

    def losses(self, outputs, batch):
        return (outputs.squeeze(1) - batch["target"]).square() / 2


def test_a_short_run_at_default_settings_grows_where_the_gradient_is_noise(tmp_path):
    """93 batches of 64 in one piece, which by default are measured at every 256th step."""
    random = torch.Generator().manual_seed(0)
    rows = Table({"features": torch.randn(6000, 500, generator=random), "target": torch.zeros(6000)})
    few = Table({"features": rows.column("features")[:9], "target": rows.column("target")[:9]})
    settings = training(
        64, learning_rate=1e-6, budget=Budget(unit="examples", amount=93 * 64), batch_schedule=GrowWithNoise(),
        evaluations=10,
    )  # fmt: skip
    assert settings.noise_scale == NoiseScale()
    assert settings.accumulation_steps == 1
    noise = GradientNoise(settings, 6000, worker(tmp_path))
    data, task = TaskData(rows, few, lambda: few), MostlyNoise()
    history = list(train(task.build_model(), task, data, settings, worker(tmp_path), noise=noise))
    sizes = [(b.examples - a.examples) // (b.step - a.step) for a, b in itertools.pairwise(history)]
    assert sizes[0] == 64
    assert 128 <= sizes[-1] <= 501
    assert noise.warnings(history) == ()


def test_a_batch_that_did_not_grow_is_warned_of_where_the_noise_scale_was_never_known(tmp_path):
    examples = {"budget": Budget(unit="examples", amount=64)}

    def warnings(schedule, **changes):
        settings = training(batch_schedule=schedule, **examples, **changes)
        noise = GradientNoise(settings, 64, worker(tmp_path))
        task = Regression()
        return noise.warnings(list(train(build(task), task, tables(), settings, worker(tmp_path), noise=noise)))

    (few,) = warnings(GrowWithNoise(), batch_size=2)
    assert few == (
        "the batch of 2 did not grow: its noise scale was not resolved at any evaluation "
        "(a batch of 2 rows in one piece is not divided)"
    )
    (short,) = warnings(GrowWithNoise(), batch_size=8)
    assert "(2 steps are too few for an interval)" in short
    assert warnings(FixedBatch(), batch_size=2) == warnings(GrowAt(), batch_size=2) == ()


def test_a_batch_that_grows_with_the_noise_is_measured_often_and_any_other_as_the_file_says():
    examples = Budget(unit="examples", amount=1000)
    growing = training(32, budget=examples, batch_schedule=GrowWithNoise())
    assert [steps_between_measurements(growing, growth) for growth in (1, 2)] == [4, 4]
    for amount, every in ((100_000, 48), (10_000_000, 256)):  # a longer run has the time
        longer = growing.model_copy(update={"budget": Budget(unit="examples", amount=amount)})
        assert steps_between_measurements(longer) == every
    epochs = growing.model_copy(update={"budget": Budget(unit="epochs", amount=10)})
    assert steps_between_measurements(epochs, train_rows=10_000) == 48
    often = growing.model_copy(update={"noise_scale": NoiseScale(every_steps=2, divided_every_steps=3)})
    assert [steps_between_measurements(often, growth) for growth in (1, 2)] == [3, 2]
    for schedule in (FixedBatch(), GrowAt()):
        other = growing.model_copy(update={"batch_schedule": schedule})
        assert [steps_between_measurements(other, growth) for growth in (1, 2)] == [256, 32]


@pytest.mark.parametrize(
    "schedule",
    [GrowAt(fractions=(0.2, 0.7), learning_rate="sqrt"), GrowAt(examples=(100, 399)), GrowWithNoise()],
    ids=["at fractions", "at examples", "with noise"],
)
def test_a_resume_is_exact(tmp_path, schedule):
    settings = training(
        budget=Budget(unit="epochs", amount=9.3), batch_schedule=schedule, noise_scale=ALWAYS, evaluations=6,
        learning_rate=1e-3,
    )  # fmt: skip

    def start(name, seed=0):
        noise = GradientNoise(settings, 64, worker(tmp_path))
        model = build(Regression(), seed)
        return model, train(model, Regression(), tables(), settings, worker(tmp_path), checkpoint=name, noise=noise)

    whole, running = start("whole")
    expected = [(report.step, report.examples) for report in running]
    parts = []
    for number in range(len(expected)):
        model, running = start("parts", seed=99 if number else 0)
        report = next(running)
        parts.append((report.step, report.examples))
        running.close()
    assert parts == expected
    assert differing(bits(whole), bits(model)) == []


def test_what_cannot_be_is_refused():
    with pytest.raises(ValidationError, match="a batch_schedule needs a budget in examples or epochs, not in steps"):
        training(batch_schedule=GrowAt())
    examples = {"budget": Budget(unit="examples", amount=100)}
    with pytest.raises(ValidationError, match="grow_with_noise needs noise_scale"):
        training(batch_schedule=GrowWithNoise(), noise_scale=None, **examples)
    with pytest.raises(ValidationError, match="fractions must ascend"):
        GrowAt(fractions=(0.5, 0.2))
    with pytest.raises(ValidationError, match="either fractions or examples"):
        GrowAt(fractions=(0.5,), examples=(100,))
    with pytest.raises(ValidationError, match="examples must ascend"):
        GrowAt(examples=(100, 100))


def test_what_is_not_given_is_no_part_of_the_identity():
    rest = {"name": "grow_at", "factor": 2, "learning_rate": "unchanged"}
    assert GrowAt().model_dump(mode="json") == {"fractions": [0.5], **rest}
    assert GrowAt() == GrowAt(fractions=(0.5,)) == GrowAt(fractions=(0.5,), examples=None)
    by_examples = GrowAt(examples=(100, 200))
    assert by_examples.model_dump(mode="json") == {"examples": [100, 200], **rest}
    for schedule in (GrowAt(), by_examples):
        assert GrowAt.model_validate_json(schedule.model_dump_json(), strict=True) == schedule
