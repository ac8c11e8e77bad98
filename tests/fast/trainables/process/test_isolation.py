"""A trial's result does not depend on what ran before it in the same process."""

import decimal
import os
import random

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.training_samples import Regression, bits, build, differing, tables, training, worker
from tests.support.turned import turn_everything
from trainables.process.isolation import Snapshot, seed_everything
from trainables.process.process_settings import PROCESS_SETTINGS
from trainables.training.loop import train

# What `turn_everything` cannot change on a machine like this one.
NOT_HERE = {"einsum", "cuda device and random"}


def comparable(value):
    """Values whose own comparison does not say whether they are the same."""
    match value:
        case torch.Tensor() | np.ndarray():
            return value.tolist()
        case decimal.Context():
            return repr(value)
        case tuple() | list():
            return [comparable(item) for item in value]
        case _:
            return value


@pytest.fixture(autouse=True)
def as_before(tmp_path):
    """Whatever a test here does not put back must not reach other tests."""
    before = Snapshot.take()
    yield
    before.restore()


def test_every_setting_is_put_back(tmp_path):
    snapshot = Snapshot.take()
    before = {name: comparable(read()) for name, (read, _) in PROCESS_SETTINGS.items()}
    turn_everything(tmp_path)
    turned = {name for name, (read, _) in PROCESS_SETTINGS.items() if comparable(read()) != before[name]}
    snapshot.restore()
    after = {name: comparable(read()) for name, (read, _) in PROCESS_SETTINGS.items()}
    assert PROCESS_SETTINGS.keys() - turned == NOT_HERE, "each setting was really changed"
    assert [name for name in PROCESS_SETTINGS if after[name] != before[name]] == []


def test_it_can_be_put_back_again_and_again(tmp_path):
    snapshot = Snapshot.take()
    for _ in range(2):
        turn_everything(tmp_path)
        snapshot.restore()
        assert torch.rand(1).device.type == "cpu"
        assert torch.rand(1).dtype == torch.float32
        assert "LEFT_BEHIND" not in os.environ


class Nasty(Regression):
    """A trial that leaves every setting changed."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def scores(self, outputs, batch):
        scores = super().scores(outputs, batch)
        turn_everything(self.folder)
        return scores


def trial(task, folder):
    """What a worker does for one trial, without the worker."""
    model = build(task)
    history = list(train(model, task, tables(), training(), worker(folder)))
    return bits(model), [{k: v for k, v in r.metrics.items() if k != "examples_per_second"} for r in history]


def test_a_trial_has_the_same_bits_first_in_its_process_and_after_one_that_changed_everything(tmp_path):
    snapshot = Snapshot.take()
    first_weights, first_metrics = trial(Regression(), tmp_path / "first")
    snapshot.restore()
    with pytest.raises(Exception):  # noqa: B017, PT011 - it ends somehow: its own settings are no good for it
        trial(Nasty(tmp_path), tmp_path / "nasty")
    assert torch.get_default_dtype() == torch.float64, "the trial before has really left its settings"
    snapshot.restore()
    weights, metrics = trial(Regression(), tmp_path / "second")
    assert differing(first_weights, weights) == []
    assert metrics == first_metrics


def test_without_it_the_bits_would_differ(tmp_path):
    """So the test above can fail."""
    weights, _ = trial(Regression(), tmp_path / "first")
    nn.modules.module.register_module_forward_hook(lambda module, inputs, outputs: outputs * 0.99)
    assert differing(weights, trial(Regression(), tmp_path / "second")[0])


def test_seeds_differ_by_seed_worker_and_step_and_in_nothing_else():
    def draws(*seed):
        seed_everything(*seed)
        return random.getrandbits(32), np.random.rand(), torch.rand(()).item()

    seeds = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**40, 3, 10**9)]
    assert [draws(*seed) for seed in seeds] == [draws(*seed) for seed in seeds]
    for columns in zip(*(draws(*seed) for seed in seeds), strict=True):
        assert len(set(columns)) == len(seeds)
