"""Batches that grow: when and by how much, that every row is still read once, and that a resume is exact."""

from tests.support.training_samples import Regression, build, tables, training, worker
from trainables.config.batch_schedule import growth_with_noise
from trainables.config.training import Budget, GrowWithNoise, NoiseScale
from trainables.training.gradient_noise import GradientNoise
from trainables.training.loop import train

ALWAYS = NoiseScale(every_steps=1, divided_every_steps=1)


def test_in_a_training_it_grows_after_readings_whose_noise_scale_is_above_the_larger_batch(tmp_path):
    """Also where it is unresolved: then after those at which the least that it can be is."""
    schedule = GrowWithNoise(at_most=4)
    settings = training(
        2, budget=Budget(unit="examples", amount=4096), batch_schedule=schedule, noise_scale=ALWAYS, evaluations=16,
        learning_rate=0.003, micro_batch_limit=1,
    )  # fmt: skip
    task, noise = Regression(dropout=0.0, batch_norm=False), GradientNoise(settings, 64, worker(tmp_path))
    growth, step, examples = 1, 0, 0
    for report in train(build(task), task, tables(), settings, worker(tmp_path), noise=noise):
        assert report.examples - examples == (report.step - step) * 2 * growth
        step, examples = report.step, report.examples
        growth = growth_with_noise(schedule, growth, 2, noise.meter.estimate().at_least)
    assert growth > 1, "the test shows nothing otherwise"
