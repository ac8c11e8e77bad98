"""A training run that was killed and resumed ends with the same bits as one that was not."""

import itertools
import os

import pytest
import torch
from torch import nn

from tests.support.training_samples import Regression, bits, build, differing, tables, training, worker
from trainables.config.optimizers import Adam
from trainables.config.training import Budget, NoiseScale
from trainables.training.checkpoint import from_bytes, to_bytes
from trainables.training.gradient_noise import GradientNoise
from trainables.training.loop import train

NAME = "trials/x/checkpoint.pt"


def resumable(model, folder, **changes):
    return train(model, Regression(), tables(), training(**changes), worker(folder), checkpoint=NAME)


def comparable(history):
    """Everything but what a clock decides."""
    timed = {"examples_per_second"}
    return [(r.step, r.examples, {k: v for k, v in r.metrics.items() if k not in timed}) for r in history]


def test_a_run_that_was_complete_yields_nothing_more_and_still_knows_its_history(tmp_path):
    first = build(Regression())
    history = tuple(resumable(first, tmp_path))
    second = build(Regression(), seed=99)
    running = resumable(second, tmp_path)
    with pytest.raises(StopIteration) as end:
        next(running)
    assert end.value.value == history
    assert differing(bits(first), bits(second)) == []


@pytest.mark.parametrize("budget", [Budget(unit="steps", amount=20), Budget(unit="seconds", amount=0.2)])
def test_time_counts_on_over_resumptions(tmp_path, budget):
    reports = []
    for _ in range(8):
        running = resumable(build(Regression()), tmp_path, budget=budget)
        reports.extend(itertools.islice(running, 1))
        running.close()
    assert list(resumable(build(Regression()), tmp_path, budget=budget)) == []
    seconds = [report.seconds for report in reports]
    assert seconds == sorted(set(seconds))
    assert seconds[0] > 0
    if budget.unit == "seconds":
        assert seconds[-1] >= 0.18
    else:
        assert reports[-1].step == 20


def kept_after_one_reading(folder):
    """The storage, and the content, of the checkpoint of a training that was killed after its first reading."""
    running = resumable(build(Regression()), folder, optimizer=Adam())
    next(running)
    running.close()
    storage = worker(folder).storage
    return storage, storage.read(NAME)


def altered(content: bytes, **changes) -> bytes:
    return to_bytes(from_bytes(content, torch.device("cpu")) | changes)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("it-ran",)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: bytes(range(100)),
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: to_bytes({"model": Evil()}),
        lambda content: to_bytes({"model": {}, "step": 3}),
        lambda content: to_bytes({}),
        lambda content: altered(content, history=[{"step": "three"}]),
        lambda content: altered(content, optimizer={"state": {}, "param_groups": []}),
        lambda content: altered(content, model=from_bytes(content, torch.device("cpu"))["model"] | {"4.bias": 0}),
    ],
    ids=["noise", "empty", "cut", "code", "keys missing", "no keys", "history", "optimizer", "model"],
)
def test_from_an_unreadable_checkpoint_a_trial_begins_anew(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    storage, content = kept_after_one_reading(tmp_path / "damaged")
    storage.write(NAME, damage(content))
    model, undamaged = build(Regression()), build(Regression())
    with pytest.warns(
        UserWarning, match=rf"{storage.label}/{NAME} is damaged.*; the training started again from the beginning"
    ) as told:
        found = list(resumable(model, tmp_path / "damaged", optimizer=Adam()))
    assert "weights_only=False" not in str(told[0].message)
    assert comparable(found) == comparable(list(resumable(undamaged, tmp_path / "whole", optimizer=Adam())))
    assert differing(bits(model), bits(undamaged)) == []
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("error", [OSError("the storage is away"), MemoryError()])
def test_what_is_no_damage_is_raised_as_it_is(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    storage, content = kept_after_one_reading(tmp_path)
    target = (
        "trainables.storage.Storage.read" if isinstance(error, OSError) else "trainables.training.checkpoint.from_bytes"
    )
    monkeypatch.setattr(target, fail)
    with pytest.raises(type(error)):
        next(resumable(build(Regression()), tmp_path, optimizer=Adam()))
    monkeypatch.undo()
    assert storage.read(NAME) == content


class Sampled(Regression):
    """Draws random numbers in evaluation too, as a variational autoencoder does."""

    def forward(self, model, batch):
        outputs = super().forward(model, batch)
        return outputs + 0.1 * torch.randn_like(outputs)


def test_readings_that_draw_random_numbers_are_the_same_after_a_kill(tmp_path):
    def readings(folder):
        return train(build(Sampled()), Sampled(), tables(), training(), worker(folder), checkpoint=NAME)

    whole = list(readings(tmp_path / "whole"))
    parts = []
    for _ in whole:
        running = readings(tmp_path / "parts")
        parts.append(next(running))
        running.close()
    assert comparable(parts) == comparable(whole)


class Gridded(nn.Module):
    """A buffer that was expanded, so that several of its elements are one place in memory."""

    def __init__(self):
        super().__init__()
        self.inner = Regression().build_model()
        self.register_buffer("grid", torch.meshgrid(torch.arange(3.0), torch.arange(2.0), indexing="ij")[0])

    def forward(self, features):
        return self.inner(features) + self.grid.mean()


class LateBuffer(nn.Module):
    """A buffer and a weight that are made in the first call, when the inputs are known."""

    def __init__(self):
        super().__init__()
        self.inner = Regression().build_model()

    def forward(self, features):
        if not hasattr(self, "scale"):
            self.register_buffer("scale", torch.linspace(0, 1, 3).expand(2, 3))
            self.shift = nn.Parameter(torch.zeros(3))
        return self.inner(features * self.scale[0] + self.shift)


@pytest.mark.parametrize("kind", [Gridded, LateBuffer])
def test_a_model_is_resumed_whose_buffers_were_expanded_or_come_with_its_first_batch(tmp_path, kind):
    def readings(folder, model):
        return train(model, Regression(), tables(), training(), worker(folder), checkpoint=NAME)

    torch.manual_seed(0)
    whole = kind()
    expected = list(readings(tmp_path / "whole", whole))
    torch.manual_seed(0)
    running = readings(tmp_path / "parts", kind())
    parts = [next(running), next(running)]
    running.close()
    resumed = kind()
    parts += readings(tmp_path / "parts", resumed)
    assert comparable(parts) == comparable(expected)
    assert differing(bits(whole), bits(resumed)) == []
    assert kind is Gridded or bool(whole.shift.any()), "the optimiser has the late weight too"


class Unloadable(nn.Module):
    """A state that torch cannot load again."""

    def __init__(self):
        super().__init__()
        self.inner = Regression().build_model()

    def forward(self, features):
        return self.inner(features)

    def load_state_dict(self, state, strict=True, assign=False):
        raise RuntimeError("not of this shape")


def test_a_model_that_cannot_be_loaded_again_is_trained_and_says_so_when_it_is_resumed(tmp_path):
    here, wanted = worker(tmp_path), NoiseScale(every_steps=2)
    settings = training(noise_scale=wanted)

    def readings():
        noise = GradientNoise(settings, tables().train.n_rows, here)
        return train(Unloadable(), Regression(), tables(), settings, here, checkpoint=NAME, noise=noise)

    assert len(list(readings())) == 7
    with pytest.raises(RuntimeError, match="the state of this model cannot be loaded after it was saved"):
        next(readings())
