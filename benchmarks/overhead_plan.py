"""The plan of `trial_overhead.py`: equal trainings of a task that exists in the benchmark alone."""

from __future__ import annotations

from pathlib import Path

from orchestrator.sweep.plan import Plan, Trial
from orchestrator.sweep.spec import Objective, Parameters, Sweep, TaskChoice, TaskFacts
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig, trial_id


def plan_of(trials: int, num_workers: int, *, rows: int, steps: int) -> Plan:
    """A sweep of `trials` equal trainings, one per seed, whose task is a name only: the benchmark's runner trains."""

    def trial(seed: int) -> Trial:
        training = Training(
            batch_size=rows * num_workers,
            micro_batch_size=rows,
            num_workers=num_workers,
            learning_rate=0.1,
            budget=Budget(unit="steps", amount=steps),
            seed=seed,
        )
        config = BaselineConfig(task=TaskConfig(name="toy", data="random", code="here"), training=training)
        return Trial(trial_id(config), config, "as written")

    sweep = Sweep(
        name="overhead",
        task=TaskChoice(name="toy"),
        facts=TaskFacts(
            metrics={},
            train_rows=None,
            data=("random",),
            code="here",
            search_path=(str(Path(__file__).resolve().parent),),
        ),
        objective=Objective(metric="val_loss", mode="min"),
        budget=Budget(unit="steps", amount=steps),
        parameters=Parameters(batch_size=(rows,), learning_rate=(0.1,), optimizer=(), schedule=()),
    )
    return Plan(sweep=sweep, trials=tuple(trial(seed) for seed in range(trials)), pending=())
