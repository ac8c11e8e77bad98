"""What every compression method, and a chain of them, promises: on three kinds of models, to the measured file.

Everything is real: a trained parent, the exported file, the process that measures it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet

from tests.support.compiled import cache_in
from trainables.compression.compress import compress
from trainables.config.compression import Compression, Distill, FineTune, Int8, Prune
from trainables.config.optimizers import AdamW
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, MeasureSettings, TaskConfig, VariantConfig, trial_id
from trainables.distributed.worker_context import WorkerContext
from trainables.estimate import Estimate
from trainables.measure.artifact import load_model
from trainables.measure.latency import ATTEMPTS
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage
from trainables.tasks.base import Task
from trainables.tasks.load import load_task
from trainables.tasks.task_data import TaskData, open_data
from trainables.trial import run_trial

pytestmark = pytest.mark.timeout(1800)  # compiling takes minutes on a machine that is busy

# As small as they can be and still be convolutions with batch norm, attention, a perceptron: compiling takes the time.
TASKS = {
    "digits_cnn": {"channels": 8},
    "digits_transformer": {"features": 32, "heads": 4, "layers": 1},
    "diabetes_mlp": {"features": 64, "layers": 2},
}
TRAINING = Training(
    batch_size=32,
    micro_batch_size=32,
    learning_rate=3e-3,
    optimizer=AdamW(),
    budget=Budget(unit="examples", amount=9600),
    evaluations=4,
)
MEASURE = MeasureSettings(device="cpu", batch_sizes=(16, 16), rounds=6)  # one batch size: half the compiling

CHAINS: dict[str, tuple[Compression, ...]] = {
    "uncompressed": (),
    "int8": (Int8(calibration_examples=64),),
    "prune": (Prune(),),
    "distill": (Distill(),),
    "fine_tune": (FineTune(),),
    "prune + int8": (Prune(), Int8(calibration_examples=64)),
}
ONCE = ("uncompressed", "fine_tune")  # they do nothing that depends on the kind of model, and compiling takes long
CASES = [(task, chain) for task in TASKS for chain in CHAINS if chain not in ONCE or task == "digits_cnn"]
BY_DAY = (  # each method, each kind of model; all pairs of them at night
    ("digits_cnn", "uncompressed"),
    ("digits_cnn", "fine_tune"),
    ("digits_cnn", "distill"),
    ("digits_cnn", "prune + int8"),
    ("digits_transformer", "prune"),
    ("diabetes_mlp", "int8"),
)


def _marked(task: str, chain: str) -> ParameterSet:
    marks = () if (task, chain) in BY_DAY else pytest.mark.nightly
    return pytest.param((task, chain), id=f"{task}: {chain}", marks=marks)


class Made(NamedTuple):
    """One variant: what was asked, what came of it, and what stood in the parent's folder before."""

    config: VariantConfig
    said: list[Report | TrialResult]
    result: TrialResult
    parent: TrialResult
    parents_files: dict[str, bytes]
    worker: WorkerContext
    task: Task
    data: TaskData

    @property
    def file(self) -> Path:
        return Path(self.worker.storage.path(f"trials/{trial_id(self.config)}/model.pt2"))

    def has(self, method: type) -> bool:
        return any(isinstance(step, method) for step in self.config.chain)


@pytest.fixture(scope="module")
def worker(tmp_path_factory) -> WorkerContext:
    folder = tmp_path_factory.mktemp("compression")
    return WorkerContext(Storage(str(folder / "results")), cache_in(folder))


def files_of(worker: WorkerContext, trial: str) -> dict[str, bytes]:
    return {name: worker.storage.read(f"trials/{trial}/{name}") for name in worker.storage.names(f"trials/{trial}")}


def train_parent(name: str, worker: WorkerContext, training: Training = TRAINING) -> tuple[TaskConfig, TrialResult]:
    task = TaskConfig(name=name, options=TASKS[name], data="test", code="test")
    config = BaselineConfig(task=task, training=training)
    *_, result = run_trial(trial_id(config), config, worker)
    assert isinstance(result, TrialResult)
    assert result.status is Status.COMPLETED
    return task, result


@pytest.fixture(scope="module")
def parents(worker: WorkerContext) -> dict[str, tuple[TaskConfig, TrialResult]]:
    return {name: train_parent(name, worker) for name in TASKS}


@pytest.fixture(scope="module", params=[_marked(task, chain) for task, chain in CASES])
def made(request, worker: WorkerContext, parents) -> Made:
    name, chain = request.param
    task_config, parent = parents[name]
    before = files_of(worker, parent.id)
    config = VariantConfig(task=task_config, parent=parent.id, training=TRAINING, chain=CHAINS[chain], measure=MEASURE)
    task = load_task(name, TASKS[name], ())
    data = open_data(task, worker.cache)
    said = list(compress(trial_id(config), config, task, data, worker))
    result = said[-1]
    assert isinstance(result, TrialResult)
    return Made(config, said, result, parent, before, worker, task, data)


def test_ends_completed_with_one_result_after_its_readings(made: Made) -> None:
    assert made.result.status is Status.COMPLETED, f"{made.result.reason}\n{made.result.details}"
    assert all(isinstance(entry, Report) for entry in made.said[:-1])
    assert made.result.history == tuple(made.said[:-1])
    steps = [report.step for report in made.result.history]
    assert steps == sorted(set(steps))
    assert bool(steps) == (made.has(Prune) or made.has(Distill) or made.has(FineTune))
    assert made.result.id == trial_id(made.config)
    assert made.result.config == made.config


def test_has_every_promised_figure_with_its_interval_or_the_reason_for_none(made: Made) -> None:
    metrics = made.result.metrics
    names = ["loss", *made.task.metrics]
    expected = {f"{prefix}val_{name}" for name in names for prefix in ("", "reference_")}
    expected |= {f"val_{name}_change" for name in names} | {"latency_ratio_batch_16", "process_peak_rss_bytes"}
    for prefix in ("", "reference_"):
        expected |= {f"{prefix}{name}" for name in ("parameters", "artifact_bytes", "compile_seconds")}
    for prefix in ("", "reference_", "reference_eager_"):
        expected |= {f"{prefix}latency_{quantile}_ms_batch_16" for quantile in ("p50", "p95")}
    assert expected <= set(metrics)
    for name, estimate in metrics.items():
        assert np.isfinite(estimate.value), name
        assert (estimate.low is not None and estimate.high is not None) or estimate.note, name
    twice = [
        MEASURE.rounds * 2**attempt for attempt in range(ATTEMPTS)
    ]  # measured again where the machine was not quiet
    assert metrics["latency_p50_ms_batch_16"].n == metrics["control_latency_ratio_batch_16"].n
    assert metrics["latency_p50_ms_batch_16"].n in twice
    assert {"measure_device", "measure_threads", "torch", "precision", "cpu"} <= set(made.result.environment)


def test_accuracy_is_that_of_the_file(made: Made) -> None:
    """The file, loaded here and not compiled, on all validation rows: alike but for rounding."""
    model = load_model(made.file)
    batch = made.data.validation.gather(np.arange(made.data.validation.n_rows))
    with torch.no_grad():
        outputs = made.task.forward(model, batch)
    values = {"loss": made.task.losses(outputs, batch), **made.task.scores(outputs, batch)}
    for name, items in values.items():
        assert made.result.metrics[f"val_{name}"].value == pytest.approx(float(items.mean()), rel=0.03, abs=0.01)


def test_change_is_the_difference_from_the_parent_row_by_row(made: Made) -> None:
    metrics = made.result.metrics
    for name in ("loss", *made.task.metrics):
        change = metrics[f"val_{name}_change"]
        difference = metrics[f"val_{name}"].value - metrics[f"reference_val_{name}"].value
        assert change.value == pytest.approx(difference, abs=1e-6, rel=1e-6)
        assert change.n == made.data.validation.n_rows
        assert metrics[f"reference_val_{name}"].value == pytest.approx(
            made.parent.metrics[f"val_{name}"].value, rel=1e-3, abs=1e-3
        )


def test_keeps_most_of_what_the_parent_has_learned(made: Made) -> None:
    """Not a benchmark: a method that destroys a model (wrong scales, wrong channels) loses far more than this."""
    metrics = made.result.metrics
    if "accuracy" in made.task.metrics:
        assert metrics["reference_val_accuracy"].value > 0.8
        assert metrics["val_accuracy_change"].value > -0.12
    else:
        assert metrics["reference_val_loss"].value < 0.85  # guessing the mean gives 1
        assert metrics["val_loss_change"].value < 0.15


def test_is_as_small_as_it_says(made: Made) -> None:
    metrics = made.result.metrics
    assert metrics["artifact_bytes"].value == made.file.stat().st_size
    assert made.result.files == {"model": "model.pt2"}
    if not made.result.config.chain:
        assert metrics["artifact_bytes"].value == metrics["reference_artifact_bytes"].value
    narrower = made.has(Prune) or made.has(Distill)
    assert (metrics["parameters"].value < 0.6 * metrics["reference_parameters"].value) == narrower
    assert metrics["parameters"].value > 0.05 * metrics["reference_parameters"].value
    if not made.has(Int8):
        assert metrics["converted_fraction"] == Estimate.exact(0.0, "nothing was quantised")
    else:
        assert 0.8 < metrics["converted_fraction"].value <= 1
        int8 = [value for value in load_model(made.file).state_dict().values() if value.dtype == torch.int8]
        weights = sum(value.numel() for value in int8 if value.numel() > 64)
        assert weights == pytest.approx(metrics["converted_fraction"].value * metrics["parameters"].value, rel=0.05)
    if made.config.chain and not made.has(FineTune):
        assert metrics["artifact_bytes"].value < 0.65 * metrics["reference_artifact_bytes"].value


def test_file_serves_every_batch_size(made: Made) -> None:
    model = load_model(made.file)
    whole = made.data.validation.gather(np.arange(5))
    with torch.no_grad():
        together = made.task.forward(model, whole)
        alone = [made.task.forward(model, {n: c[i : i + 1] for n, c in whole.items()}) for i in range(5)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-3, atol=1e-3)


def test_leaves_the_parent_and_the_process_as_they_were(made: Made) -> None:
    assert files_of(made.worker, made.parent.id) == made.parents_files
    assert made.worker.storage.names(f"trials/{made.result.id}") == ["model.pt2"]  # no checkpoint is left behind
    assert torch.is_grad_enabled()
    assert torch._inductor.config.pre_grad_custom_pass is None
    assert torch._inductor.config.freezing is False


# -- endings that are not successes -----------------------------------------------------------------------------------


def variant(task: TaskConfig, parent: str, *chain: Compression, training: Training = TRAINING) -> VariantConfig:
    return VariantConfig(task=task, parent=parent, training=training, chain=chain, measure=MEASURE)


def run(config: VariantConfig, worker: WorkerContext, task: Task | None = None) -> TrialResult:
    task = task or load_task(config.task.name, config.task.options, ())
    *_, result = compress(trial_id(config), config, task, open_data(task, worker.cache), worker)
    assert isinstance(result, TrialResult)
    return result


def test_nothing_can_follow_int8(worker: WorkerContext, parents) -> None:
    task, parent = parents["diabetes_mlp"]
    with pytest.raises(ValueError, match="int8 must be the last method of a chain"):
        run(variant(task, parent.id, Int8(), Prune()), worker)


def test_variant_is_made_by_one_worker(worker: WorkerContext, parents) -> None:
    task, parent = parents["diabetes_mlp"]
    two = WorkerContext(worker.storage, worker.cache, rank=0, world_size=2)
    with pytest.raises(ValueError, match="one worker, but this group has 2"):
        run(variant(task, parent.id), two)


def test_parent_without_weights_is_a_result(worker: WorkerContext, parents) -> None:
    task, _ = parents["diabetes_mlp"]
    result = run(variant(task, "0123456789ab", Prune()), worker)
    assert result.status is Status.FAILED
    assert "the parent 0123456789ab has no stored weights" in (result.reason or "")


def test_weights_of_another_model_are_a_result(worker: WorkerContext, parents) -> None:
    task, _ = parents["diabetes_mlp"]
    _, other = parents["digits_cnn"]
    result = run(variant(task, other.id, Prune()), worker)
    assert result.status is Status.FAILED
    assert "do not fit the task's model" in (result.reason or "")


def test_method_that_removes_nothing_is_a_result_with_the_reason(worker: WorkerContext, parents) -> None:
    task, parent = parents["diabetes_mlp"]
    result = run(variant(task, parent.id, Prune(ratio=0.5, round_to=512)), worker)
    assert result.status is Status.FAILED
    assert "prune 0.5 removed nothing" in (result.reason or "")
    assert result.files == {}


def test_loss_that_is_not_finite_is_a_result_with_the_readings_so_far(worker: WorkerContext, parents) -> None:
    task, parent = parents["diabetes_mlp"]
    wild = TRAINING.model_copy(update={"learning_rate": 1e30})
    result = run(variant(task, parent.id, FineTune(learning_rate_factor=1.0), training=wild), worker)
    assert result.status is Status.DIVERGED
    assert "loss" in (result.reason or "")


def test_teacher_that_counts_other_items_is_a_result(worker: WorkerContext, parents) -> None:
    task_config, parent = parents["digits_cnn"]
    task = load_task("digits_cnn", TASKS["digits_cnn"], ())
    task.distillation_losses = lambda student, *_: student.flatten()  # type: ignore[method-assign]
    result = run(variant(task_config, parent.id, Distill()), worker, task)
    assert result.status is Status.FAILED
    assert "override the latter to give one loss for each item" in (result.reason or "")
