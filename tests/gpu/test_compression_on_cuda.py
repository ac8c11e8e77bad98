"""Variants made and measured on a CUDA device: the file, reloaded and compiled there beside its parent."""

import numpy as np
import pytest
import torch
from torch.torch_version import TorchVersion

from tests.support.training_samples import training, worker
from trainables.config.compression import Compression, Distill, FineTune, Int8, Prune
from trainables.config.optimizers import AdamW
from trainables.config.trial import BaselineConfig, MeasureSettings, TaskConfig, VariantConfig, trial_id
from trainables.distributed.worker_context import WorkerContext
from trainables.results import Status, TrialResult
from trainables.trial import run_trial

pytestmark = pytest.mark.timeout(900)

TASK = TaskConfig(name="digits_cnn", options={"channels": 8}, data="of the test", code="of the test")
TRAINING = training(64, 300, optimizer=AdamW(), learning_rate=3e-3)
ON_CUDA = MeasureSettings(device="cuda", batch_sizes=(1, 64), rounds=8)
CHAINS: dict[str, tuple[Compression, ...]] = {
    "uncompressed": (),
    "fine-tune": (FineTune(),),
    "prune": (Prune(),),
    "distill": (Distill(),),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> WorkerContext:
    return worker(tmp_path_factory.mktemp("compression"), device=torch.device("cuda", 0))


@pytest.fixture(scope="module")
def parent(here: WorkerContext) -> TrialResult:
    config = BaselineConfig(task=TASK, training=TRAINING)
    *_, result = run_trial(trial_id(config), config, here)
    assert isinstance(result, TrialResult)
    assert result.status is Status.COMPLETED
    return result


def made(
    parent: TrialResult, here: WorkerContext, chain: tuple[Compression, ...], measure: MeasureSettings
) -> TrialResult:
    config = VariantConfig(task=TASK, parent=parent.id, training=TRAINING, chain=chain, measure=measure)
    *_, result = run_trial(trial_id(config), config, here)
    assert isinstance(result, TrialResult)
    return result


@pytest.mark.parametrize("chain", CHAINS)
def test_variants_are_measured_on_the_device(here: WorkerContext, parent: TrialResult, chain: str) -> None:
    result = made(parent, here, CHAINS[chain], ON_CUDA)
    assert result.status is Status.COMPLETED, f"{result.reason}\n{result.details}"
    assert result.environment["measure_device"] == torch.cuda.get_device_name(here.device)
    assert result.environment["bfloat16"] == "measured"
    metrics = result.metrics
    for batch in (1, 64):
        for name in ("latency", "reference_latency", "reference_eager_latency", "reference_bfloat16_latency"):
            assert 0 < metrics[f"{name}_p50_ms_batch_{batch}"].value <= metrics[f"{name}_p95_ms_batch_{batch}"].value
        assert metrics[f"latency_ratio_batch_{batch}"].low is not None
    assert 0 < metrics["device_peak_memory_bytes"].value < 2**30
    for name, estimate in metrics.items():
        assert np.isfinite(estimate.value), name
    assert metrics["reference_val_accuracy"].value == pytest.approx(parent.metrics["val_accuracy"].value, abs=0.01)
    assert metrics["val_accuracy_change"].value > -0.12
    narrower = chain in ("prune", "distill")
    assert (metrics["artifact_bytes"].value < 0.65 * metrics["reference_artifact_bytes"].value) == narrower


@pytest.mark.skipif(TorchVersion(torch.__version__) < (2, 13), reason="torchao 0.18 reads the graphs of torch 2.13")
def test_int8_beside_a_gpu_is_measured_on_the_cpu(here: WorkerContext, parent: TrialResult) -> None:
    result = made(
        parent, here, (Int8(calibration_examples=64),), MeasureSettings(device="cpu", batch_sizes=(16, 16), rounds=6)
    )
    assert result.status is Status.COMPLETED, f"{result.reason}\n{result.details}"
    assert result.environment["measure_device"] == "cpu"
    assert result.metrics["converted_fraction"].value > 0.8
    assert result.metrics["val_accuracy_change"].value > -0.05


def test_int8_on_cuda_says_what_to_do(here: WorkerContext, parent: TrialResult) -> None:
    result = made(parent, here, (Int8(),), ON_CUDA)
    assert result.status is Status.FAILED
    assert "measure: {device: cpu}" in (result.reason or "")
