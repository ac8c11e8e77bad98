"""Training on a CUDA device: every precision, loss scaling, and resuming to the bit."""

from pathlib import Path

import pytest
import torch

from tests.support.training_samples import Regression, bits, build, differing, tables, training, worker
from trainables.config.optimizers import Adam
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.results import Status, TrialResult
from trainables.tasks.catalog import BUILTIN
from trainables.training.loop import train
from trainables.trial import run_trial

NAME = "trials/x/checkpoint.pt"


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_every_precision_learns(tmp_path: Path, cuda: torch.device, precision: str) -> None:
    settings = training(16, 300, precision=precision, learning_rate=0.02, evaluations=60)  # the fourth after 5 steps
    reports = list(train(build(Regression(0.0)), Regression(0.0), tables(), settings, worker(tmp_path, device=cuda)))
    assert reports[-1].metrics["val_loss"] < 0.5 * reports[3].metrics["val_loss"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_model_computes_in_the_precision_that_was_asked_for(
    tmp_path: Path, cuda: torch.device, precision: str
) -> None:
    seen: set[torch.dtype] = set()
    model = build(Regression(0.0))
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    last.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    list(train(model, Regression(0.0), tables(), training(16, 5, precision=precision), worker(tmp_path, device=cuda)))
    assert getattr(torch, precision) in seen


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_resumed_it_ends_with_the_same_bits(tmp_path: Path, cuda: torch.device, precision: str) -> None:
    settings = training(precision=precision, optimizer=Adam())
    whole = build(Regression())
    steps = len(list(train(whole, Regression(), tables(), settings, worker(tmp_path / "whole", device=cuda))))
    part = build(Regression())
    for _ in range(steps):
        running = train(
            part, Regression(), tables(), settings, worker(tmp_path / "parts", device=cuda), checkpoint=NAME
        )
        next(running)
        running.close()
        part_bits = bits(part)
        part = build(Regression(), seed=99)
    assert differing(bits(whole), part_bits) == []


def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path: Path, cuda: torch.device) -> None:
    ends = []
    for limit in (None, 3):
        model = build(Regression(0.0, batch_norm=False), dtype=torch.float64)
        data = tables(dtype=torch.float64)
        settings = training(24, 20, micro_batch_limit=limit)
        list(train(model, Regression(0.0, False), data, settings, worker(tmp_path / str(limit), device=cuda)))
        ends.append(bits(model))
    for name, tensor in ends[0].items():
        assert torch.allclose(tensor, ends[1][name], rtol=1e-9, atol=1e-9), name


@pytest.mark.parametrize("task", sorted(BUILTIN))
def test_a_baseline_of_every_built_in_task(tmp_path: Path, cuda: torch.device, task: str) -> None:
    config = BaselineConfig(
        task=TaskConfig(name=task, data="data", code="code"), training=training(32, 10, evaluations=1)
    )
    *_, result = run_trial("x", config, worker(tmp_path, device=cuda))
    assert isinstance(result, TrialResult)
    assert result.status is Status.COMPLETED
    assert result.environment["device"] == torch.cuda.get_device_name(cuda)
    assert "model" in result.files
    assert result.warnings == ()
