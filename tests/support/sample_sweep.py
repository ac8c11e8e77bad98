"""A sweep that never ran, with figures as a real one leaves them: 3 batch sizes x 3 rates x seeds, and variants.

The same arguments give the same figures. Steps to the target follow S(B) = 80 (1 + 64/B) at the best rate; validation
has 360 rows, as scikit-learn's digits do. One trial diverges; pruned models are faster, quantised ones smaller.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from orchestrator.analysis.plan_file import StoredPlan, StoredTrial, save_plan
from orchestrator.analysis.result_file import save_result
from orchestrator.sweep.spec import Goal, Objective
from trainables.config.compression import Compression, Distill, Int8, Prune, describe_chain
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig, VariantConfig, trial_id
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage

T = TypeVar("T")
TASK = TaskConfig(name="digits_cnn", data="data", code="code")
EXAMPLES = 40_000
VALIDATION_ROWS = 360
ARTIFACT_BYTES = 112_000
GOALS = (
    Goal(metric="val_accuracy", type="max-degradation", value=0.01),
    Goal(metric="artifact_bytes", type="percent-min-improvement", value=50),
)
CHAINS: tuple[tuple[Compression, ...], ...] = ((), (Int8(),), (Prune(),), (Distill(),), (Prune(), Int8()))
# chain -> (loss of accuracy, share of the bytes, latency ratio at batch 1, at batch 64)
EFFECTS = {
    "uncompressed": (0.0, 1.0, 1.0, 1.0),
    "int8": (0.002, 0.27, 1.15, 0.42),
    "prune 0.5": (0.005, 0.29, 0.62, 0.33),
    "distill 0.5": (0.014, 0.28, 0.58, 0.31),
    "prune 0.5 + int8": (0.007, 0.09, 0.71, 0.19),
}


def sample_plan(
    *,
    name: str = "sample",
    batch_sizes: Sequence[int] = (8, 32, 128),
    multipliers: Sequence[float] = (0.5, 1.0, 2.0),
    seeds: Sequence[int] = (0, 1, 2),
    variant_seeds: Sequence[int] = (0,),
    chains: Sequence[tuple[Compression, ...]] = CHAINS,
    goals: Sequence[Goal] = GOALS,
    target: float | None = 0.95,
) -> StoredPlan:
    baselines = [
        StoredTrial(
            id=trial_id(config),
            config=config,
            learning_rate_source=f"linear from 0.05 at 64, x {multiplier:g}",
        )
        for batch_size in batch_sizes
        for multiplier in multipliers
        for seed in seeds
        for config in [baseline_config(batch_size, multiplier, seed)]
    ]
    parents = _best_per_batch_size(baselines)
    variants = [
        StoredTrial(id=trial_id(config), config=config)
        for parent in parents
        if parent.config.training.seed in variant_seeds
        for chain in chains
        for config in [VariantConfig(task=TASK, parent=parent.id, training=parent.config.training, chain=chain)]
    ]
    return StoredPlan(
        name=name,
        task=TASK.name,
        objective=Objective(metric="val_accuracy", mode="max", target=target),
        goals=tuple(goals),
        directions={"accuracy": "max", "loss": "min"},
        trials=(*baselines, *variants),
    )


def _best_per_batch_size(baselines: Sequence[StoredTrial]) -> list[StoredTrial]:
    """All seeds of the learning rate with the best mean accuracy, for every batch size."""
    groups: dict[int, dict[float, list[StoredTrial]]] = {}
    for trial in baselines:
        training = trial.config.training
        groups.setdefault(training.batch_size, {}).setdefault(training.learning_rate, []).append(trial)

    def score(trials: list[StoredTrial]) -> float:
        results = [baseline_result(trial).metrics.get("val_accuracy") for trial in trials]
        return -1.0 if None in results else sum(r.value for r in results if r) / len(results)

    return [trial for rates in groups.values() for trial in max(rates.values(), key=score)]


def baseline_config(batch_size: int, multiplier: float, seed: int) -> BaselineConfig:
    return BaselineConfig(
        task=TASK,
        training=Training(
            batch_size=batch_size,
            micro_batch_size=batch_size,
            learning_rate=0.05 * batch_size / 64 * multiplier,
            budget=Budget(unit="examples", amount=EXAMPLES),
            seed=seed,
        ),
    )


def sample_results(plan: StoredPlan) -> Iterator[TrialResult]:
    for trial in plan.trials:
        yield baseline_result(trial) if trial.config.kind == "baseline" else variant_result(trial)


def write_sample(storage: Storage, **options: object) -> StoredPlan:
    """Store a whole sweep, as a driver would."""
    plan = sample_plan(**options)  # type: ignore[arg-type]
    save_plan(storage, plan)
    for result in sample_results(plan):
        save_result(storage, result)
    return plan


def baseline_result(trial: StoredTrial) -> TrialResult:
    training = trial.config.training
    batch_size, multiplier, draw = training.batch_size, _multiplier(training), _draw(training)
    steps = EXAMPLES // batch_size
    tuned_steps = 80 * (1 + 64 / batch_size) * (1 + 0.25 * math.log2(multiplier) ** 2) * draw.normal(1, 0.06)
    ceiling = 0.976 - 0.004 * abs(math.log2(multiplier)) + draw.normal(0, 0.003)
    rate = math.log((ceiling - 0.1) / max(ceiling - 0.95, 0.004)) / tuned_steps
    history = []
    for k in range(1, training.evaluations + 1):
        step = steps * k // training.evaluations
        accuracy = ceiling - (ceiling - 0.1) * math.exp(-rate * step) + draw.normal(0, 0.003)
        seconds = step * (0.002 + 0.00002 * batch_size)
        gap = 0.004 * k / training.evaluations
        history.append(
            Report(
                step=step,
                examples=step * batch_size,
                seconds=seconds,
                metrics={
                    "val_accuracy": accuracy,
                    "train_accuracy": min(1.0, accuracy + gap + 0.01),
                    "val_loss": 2.3 * (1 - accuracy) + 0.02,
                    "train_loss": 2.3 * (1 - accuracy) * 0.7,
                    "learning_rate": training.learning_rate,
                    "examples_per_second": step * batch_size / seconds,
                    "gradient_norm_mean": 1.0,
                    "gradient_norm_max": 4.0,
                },
            )
        )
    environment = {"device": "cpu", "cpu": "a processor"}
    if batch_size == 128 and multiplier == 2.0 and training.seed == 2:
        reason = f"the loss was nan at step {history[1].step + 3}"
        return TrialResult(
            id=trial.id, config=trial.config, status=Status.DIVERGED, reason=reason,
            history=tuple(history[:2]), environment=environment,
        )  # fmt: skip
    last = history[-1]
    metrics = {
        "val_accuracy": _share(last.metrics["val_accuracy"]),
        "train_accuracy": _share(last.metrics["train_accuracy"]),
        "val_loss": Estimate(value=last.metrics["val_loss"]),
        "best_val_accuracy": Estimate.exact(max(r.metrics["val_accuracy"] for r in history)),
        "steps": Estimate.exact(last.step),
        "examples": Estimate.exact(last.examples),
        "train_seconds": Estimate.exact(last.seconds),
        "examples_per_second": Estimate.exact(last.examples / last.seconds),
        "parameters": Estimate.exact(28_000),
        "artifact_bytes": Estimate.exact(ARTIFACT_BYTES),
    }
    return TrialResult(
        id=trial.id, config=trial.config, status=Status.COMPLETED, history=tuple(history), metrics=metrics,
        environment=environment, files={"model": "model.pt2", "weights": "weights.pt"},
    )  # fmt: skip


def variant_result(trial: StoredTrial) -> TrialResult:
    assert trial.config.kind == "variant"
    parent = baseline_result(StoredTrial(id=trial.config.parent, config=_parent_config(trial.config)))
    loss, share, *ratios = EFFECTS[describe_chain(trial.config.chain)]
    draw = _draw(trial.config.training, describe_chain(trial.config.chain))
    accuracy = parent.metrics["val_accuracy"].value
    change = 0.0 if loss == 0 else -loss + draw.normal(0, 0.002)
    metrics = {
        "val_accuracy": _share(accuracy + change),
        "val_accuracy_change": Estimate(value=change, low=change - 0.006, high=change + 0.006, n=VALIDATION_ROWS),
        "artifact_bytes": Estimate.exact(round(ARTIFACT_BYTES * share)),
        "parameters": Estimate.exact(28_000 if "prune" not in describe_chain(trial.config.chain) else 7_400),
        "converted_fraction": Estimate.exact(0.98 if "int8" in describe_chain(trial.config.chain) else 0.0),
    }
    for batch, parent_ms, ratio in zip((1, 64), (0.21, 3.9), ratios, strict=True):
        measured = ratio * draw.normal(1, 0.01)
        for name, value in {
            f"latency_p50_ms_batch_{batch}": measured * parent_ms,
            f"latency_p95_ms_batch_{batch}": measured * parent_ms * 1.2,
            f"latency_ratio_batch_{batch}": measured,
            f"reference_latency_p50_ms_batch_{batch}": parent_ms,
        }.items():
            metrics[name] = Estimate(value=value, low=value * 0.97, high=value * 1.04, n=20)
    return TrialResult(
        id=trial.id, config=trial.config, status=Status.COMPLETED, metrics=metrics,
        environment={"precision": "float32", "cpu": "a processor", "measure_device": "cpu", "measure_threads": "1"},
        files={"model": "model.pt2"},
    )  # fmt: skip


def _parent_config(config: VariantConfig) -> BaselineConfig:
    return BaselineConfig(task=config.task, training=config.training)


def _multiplier(training: Training) -> float:
    return round(training.learning_rate * 64 / training.batch_size / 0.05, 6)


def _share(value: float) -> Estimate:
    """A share of the validation rows, with its normal interval."""
    value = min(value, 1.0)
    half = 1.96 * math.sqrt(value * (1 - value) / VALIDATION_ROWS)
    return Estimate(value=value, low=value - half, high=value + half, n=VALIDATION_ROWS)


def _draw(training: Training, chain: str = "") -> np.random.Generator:
    """Of what a trial is about, not of its id, which changes whenever a configuration gets another field."""
    key = f"{training.batch_size} {training.learning_rate:g} {training.seed} {chain}"
    return np.random.default_rng(zlib.crc32(key.encode()))


def of_kind(values: Iterable[object], kind: type[T]) -> list[T]:
    """Those of one kind: of a recommendation's reasons, or of its caveats."""
    return [value for value in values if isinstance(value, kind)]
