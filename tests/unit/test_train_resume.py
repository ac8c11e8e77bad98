"""A training run that was killed and resumed ends with the same bits as one that was not."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training_samples import Regression, bits, build, differing, place, tables, training
from trainables.config.training import Adam, AdamW, Budget, NoiseScale, Sgd, WarmupCosine
from trainables.training.checkpoint import from_bytes, to_bytes
from trainables.training.gradient_noise import GradientNoise
from trainables.training.loop import train

NAME = "trials/x/checkpoint.pt"


def resumable(model, folder, **changes):
    return train(model, Regression(), tables(), training(**changes), place(folder), checkpoint=NAME)


def comparable(history):
    """Everything but what a clock decides."""
    timed = {"examples_per_second"}
    return [(r.step, r.examples, {k: v for k, v in r.metrics.items() if k not in timed}) for r in history]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": Sgd(momentum=0.9, nesterov=True)},
        {"optimizer": Adam(), "schedule": WarmupCosine(), "micro_batch_limit": 3, "batch_size": 9},
        {"optimizer": AdamW(), "gradient_clip_norm": 0.5, "precision": "bfloat16"},
        {"budget": Budget(unit="epochs", amount=3.7), "sharding": "block", "batch_size": 24, "evaluations": 7},
    ],
    ids=["sgd", "adam", "adamw", "epochs"],
)
def test_killed_after_any_reading_and_resumed_it_ends_with_the_same_bits(tmp_path, changes):
    whole = build(Regression())
    expected = list(resumable(whole, tmp_path / "whole", **changes))

    parts, model = [], None
    for _ in expected:
        model = build(Regression(), seed=99)  # other weights: the checkpoint must bring all of them
        if not parts:
            model = build(Regression())
        running = resumable(model, tmp_path / "parts", **changes)
        parts.append(next(running))
        running.close()
        torch.rand(7)  # what happens in between must not matter
    assert comparable(parts) == comparable(expected)
    assert differing(bits(whole), bits(model)) == []


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
    storage = place(folder).storage
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
    with pytest.warns(UserWarning, match=rf"{storage.label}/{NAME} is damaged.*; the training began anew") as told:
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


CHILD = """
import sys
from pathlib import Path
import torch
from tests.unit.test_train_resume import resumable
from tests.training_samples import Regression, build
folder = Path(sys.argv[1])
model = build(Regression())
for report in resumable(model, folder, steps=3000, evaluations=12):
    print(report.step, flush=True)
torch.save(model.state_dict(), folder / "weights.pt")
"""


def test_a_process_killed_in_mid_training_goes_on_where_it_was(tmp_path):
    def start(folder: Path) -> subprocess.Popen[str]:
        folder.mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True)

    uninterrupted = start(tmp_path / "whole")
    with start(tmp_path / "killed") as killed:
        seen = [int(killed.stdout.readline()) for _ in range(5)]
        killed.send_signal(signal.SIGKILL)
    rest, whole = (
        [int(line) for line in process.communicate(timeout=300)[0].split()]
        for process in (start(tmp_path / "killed"), uninterrupted)
    )
    assert whole == [32, 63, 125, 250, *range(500, 3001, 250)]
    # Readings that it went on to before the signal came are in a checkpoint, though nobody heard of them.
    assert seen == whole[:5]
    assert rest == whole[-len(rest) :]
    assert seen[-1] < rest[0]
    weights = [torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("whole", "killed")]
    assert differing(*weights) == []


class Sampled(Regression):
    """Draws random numbers in evaluation too, as a variational autoencoder does."""

    def forward(self, model, batch):
        outputs = super().forward(model, batch)
        return outputs + 0.1 * torch.randn_like(outputs)


def test_readings_that_draw_random_numbers_are_the_same_after_a_kill(tmp_path):
    def readings(folder):
        return train(build(Sampled()), Sampled(), tables(), training(), place(folder), checkpoint=NAME)

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
        return train(model, Regression(), tables(), training(), place(folder), checkpoint=NAME)

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
    here, wanted = place(tmp_path), NoiseScale(every_steps=2)
    settings = training(noise_scale=wanted)

    def readings():
        noise = GradientNoise(settings, tables().train.n_rows, here)
        return train(Unloadable(), Regression(), tables(), settings, here, checkpoint=NAME, noise=noise)

    assert len(list(readings())) == 7
    with pytest.raises(RuntimeError, match="the state of this model cannot be loaded after it was saved"):
        next(readings())
