"""A trial's result does not depend on what ran before it in the same process."""

import decimal
import gc
import locale
import logging
import os
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import deterministic

from tests.training_samples import Regression, bits, build, differing, place, tables, training
from trainables.process.isolation import PROCESS_SETTINGS, Snapshot, seed_everything
from trainables.training.loop import train


def turn_everything(folder):
    """Change every setting that a trial could change, to a value that it does not have."""
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)
    np.seterr(all="raise")
    decimal.getcontext().prec = 3
    locale.setlocale(locale.LC_ALL, "C" if locale.setlocale(locale.LC_ALL) != "C" else "C.UTF-8")
    os.environ.update({"LEFT_BEHIND": "1", "PATH": "/nowhere"})
    del os.environ["HOME"]
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.argv.append("--more")
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    logging.getLogger().setLevel(logging.CRITICAL)
    logging.getLogger("torch").handlers.append(logging.NullHandler())
    gc.disable()
    gc.set_threshold(1, 1, 1)
    _turn_torch()


def _turn_torch():
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(False)
    torch.autograd.set_detect_anomaly(True, False)
    torch._C._set_multithreading_enabled(False)
    for device in ("cpu", "cuda"):
        torch.set_autocast_enabled(device, True)
    torch.set_autocast_dtype("cpu", torch.float16)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_cache_enabled(False)
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = False
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.fp32_precision = "ieee"
    torch.backends.mkldnn.set_flags(False, True)
    torch.backends.cudnn.enabled = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 3
    torch.backends.cudnn.deterministic = True
    matmul = torch.backends.cuda.matmul
    matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = False
    matmul.allow_fp16_accumulation = True
    for switch in ("flash", "mem_efficient", "math", "cudnn"):
        getattr(torch.backends.cuda, f"enable_{switch}_sdp")(False)
    torch._C._set_nnpack_enabled(False)
    torch.backends.quantized.engine = next(
        engine for engine in torch.backends.quantized.supported_engines if engine != torch.backends.quantized.engine
    )
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    nn.modules.module.register_module_forward_hook(lambda module, inputs, outputs: outputs * 0)
    torch._dynamo.config.suppress_errors = True
    torch._inductor.config.max_autotune = True


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
    history = list(train(model, task, tables(), training(), place(folder)))
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


GENERAL = """
import torch
from trainables.process.isolation import Snapshot
snapshot = Snapshot.take()
{before}
snapshot.restore()
torch.backends.fp32_precision = "ieee"
print(torch.backends.cudnn.conv.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision)
"""


@pytest.mark.parametrize(
    "before", ["", "torch.backends.fp32_precision = 'tf32'", "torch.set_float32_matmul_precision('medium')"]
)
def test_a_general_setting_still_rules_the_particular_ones_afterwards(before):
    """In a process of its own: torch hands a setting down only to those that were never set themselves."""
    command = [sys.executable, "-c", GENERAL.format(before=before)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["ieee", "ieee"]


def test_seeds_differ_by_seed_worker_and_step_and_in_nothing_else():
    def draws(*seed):
        seed_everything(*seed)
        return random.getrandbits(32), np.random.rand(), torch.rand(()).item()

    seeds = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**40, 3, 10**9)]
    assert [draws(*seed) for seed in seeds] == [draws(*seed) for seed in seeds]
    for columns in zip(*(draws(*seed) for seed in seeds), strict=True):
        assert len(set(columns)) == len(seeds)
