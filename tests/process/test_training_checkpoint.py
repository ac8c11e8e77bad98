"""A training run that was killed and resumed ends with the same bits as one that was not."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.training_samples import Regression, bits, build, differing, tables, training, worker
from trainables.config.optimizers import Adam, AdamW, Sgd
from trainables.config.schedules import WarmupCosine
from trainables.config.training import Budget
from trainables.training.loop import train

NAME = "trials/x/checkpoint.pt"


def resumable(model, folder, **changes):
    return train(model, Regression(), tables(), training(**changes), worker(folder), checkpoint=NAME)


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


CHILD = """
import sys
from pathlib import Path
import torch
from tests.fast.trainables.training.test_checkpoint import resumable
from tests.support.training_samples import Regression, build
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
