"""A small sweep that nobody trained: trials, reports and results for tests of what happens to them afterwards."""

from __future__ import annotations

import math

from orchestrator.sweep.plan import Trial
from trainables.config.compression import Int8
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig, VariantConfig, trial_id
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult

TASK = TaskConfig(name="digits_cnn", data="d" * 12, code="c" * 12)
EXAMPLES = 4000


def baseline(batch_size: int, seed: int = 0) -> Trial:
    training = Training(
        batch_size=batch_size,
        micro_batch_size=batch_size,
        learning_rate=0.05 * batch_size / 64,
        budget=Budget(unit="examples", amount=EXAMPLES),
        seed=seed,
    )
    config = BaselineConfig(task=TASK, training=training)
    return Trial(trial_id(config), config, "linear from 0.05 at 64")


def variant(parent: Trial) -> Trial:
    config = VariantConfig(task=TASK, parent=parent.id, training=parent.config.training, chain=(Int8(),))
    return Trial(trial_id(config), config, parent.learning_rate_source)


def reports(trial: Trial, evaluations: int = 10) -> list[Report]:
    batch_size = trial.config.training.batch_size
    made = []
    for number in range(1, evaluations + 1):
        step = EXAMPLES // batch_size * number // evaluations
        accuracy = (1 - math.exp(-number / 3)) * (1 - batch_size / 5000)
        metrics = {"val_accuracy": accuracy, "val_loss": 1 - accuracy, "train_loss": 1.1 - accuracy}
        made.append(Report(step=step, examples=step * batch_size, seconds=0.2 * number, metrics=metrics))
    return made


def result(trial: Trial, status: Status = Status.COMPLETED, history: list[Report] | None = None) -> TrialResult:
    history = reports(trial) if history is None else history
    accuracy = history[-1].metrics["val_accuracy"] if history else 0.5
    is_variant = trial.config.kind == "variant"
    megabytes = 0.3 if is_variant else 1.0
    return TrialResult(
        id=trial.id,
        config=trial.config,
        status=status,
        reason=None if status is Status.COMPLETED else f"ended as {status.value}, to see what becomes of it",
        history=tuple(history),
        metrics={
            "val_accuracy": Estimate(
                value=accuracy - 0.01 * is_variant, low=accuracy - 0.05, high=accuracy + 0.03, n=300
            ),
            "artifact_bytes": Estimate.exact(1e6 * megabytes),
            "latency_p50_ms_batch_1": Estimate(value=2 * megabytes + trial.config.training.batch_size / 1000, n=20),
            "parameters": Estimate.exact(100_000),
        },
        files={"model": "model.pt2"},
    )
