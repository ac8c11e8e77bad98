"""Simulated trials: their results follow a known law, so that a procedure's answer can be compared with the truth.

    steps to the target    S(B, rate) = S_min (1 + B_c/B) penalty(rate / best rate at B), times noise by seed
    seconds of a step      a + b B/K + c(K)
    the loss               target (S / step)^power: it passes the target at step S

A simulated cluster is a function from trials to results; `play` asks a plan for trials until it has no more.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from orchestrator.adaptive.resolve import further_trials, settled
from orchestrator.sweep.plan import Plan, Trial
from orchestrator.sweep.spec import Sweep
from tests.support.sweep_text import load_text, sweep_text
from trainables.config.batching import report_steps, steps_for
from trainables.config.training import Training
from trainables.config.trial import ProbeConfig, VariantConfig
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult

TARGET = 0.5  # of val_loss
ROWS = 50_000
PARAMETERS = "{batch_size: auto, learning_rate: {base: 0.05, at_batch_size: 64, rule: linear}}"


def sweep_of(folder: Path, parameters: str = PARAMETERS, **sections: str | None) -> Sweep:
    """A sweep for the simulated task, its batch size to be found; any section may be given otherwise, or left out."""
    text = sweep_text(
        parameters=parameters,
        **{
            "objective": f"{{metric: val_loss, target: {TARGET}}}",
            "budget": "{examples: 100000}",
            "compression": None,
            "goals": None,
            **sections,
        },
    )
    sweep = load_text(folder, text)
    fixed = {"train_rows": ROWS, "code": "of the test"}  # the noise is drawn from the ids, which shall stay
    return sweep.model_copy(update={"facts": sweep.facts.model_copy(update=fixed)})


@dataclass(frozen=True)
class Law:
    """What is true of the simulated task and machine."""

    min_steps: float = 60.0
    critical_batch: float = 200.0
    base_rate: float = 0.05  # the best rate at batch size 64
    rate_power: float = 1.0  # how the best rate grows with the batch; 1 is the linear rule
    noise: float = 0.03  # standard deviation of log steps, over seeds
    overhead: float = 0.02  # seconds
    per_example: float = 2e-4
    communication: Mapping[int, float] = field(default_factory=dict)
    noise_scale: Estimate | None = None
    largest_micro_batch: int = 4096
    steps_at: Callable[[float], float] | None = None  # in place of the hyperbola
    diverges_above: float = 6.0  # times the best rate
    slower: Callable[[Trial], float] = lambda trial: 1.0  # times as many steps, whatever the batch size

    rate_factors: Mapping[str, float] = field(default_factory=dict)  # of the best rate, by the task's option `norm`

    def best_rate(self, batch_size: float, norm: str = "") -> float:
        return self.base_rate * (batch_size / 64) ** self.rate_power * self.rate_factors.get(norm, 1.0)

    def steps(self, batch_size: float) -> float:
        """At the best rate, without noise."""
        return self.steps_at(batch_size) if self.steps_at else self.min_steps * (1 + self.critical_batch / batch_size)

    def step_seconds(self, batch_size: float, num_workers: int = 1) -> float:
        return self.overhead + self.per_example * batch_size / num_workers + self.communication.get(num_workers, 0.0)

    def seconds(self, batch_size: float, num_workers: int = 1) -> float:
        return self.steps(batch_size) * self.step_seconds(batch_size, num_workers)

    # -- results ------------------------------------------------------------------------------------------------------

    def result(self, trial: Trial) -> TrialResult:
        match trial.config:
            case ProbeConfig():
                return self._probe(trial, trial.config)
            case VariantConfig():
                figures = {"val_loss": Estimate.exact(TARGET), "artifact_bytes": Estimate.exact(1000)}
                return _result(trial, Status.COMPLETED, figures, ())
            case _:
                return self._training(trial, trial.training)

    def _training(self, trial: Trial, training: Training) -> TrialResult:
        size, workers = training.batch_size, training.num_workers
        off = training.learning_rate / self.best_rate(size, str(trial.config.task.options.get("norm", "")))
        if off > self.diverges_above:
            return _result(trial, Status.DIVERGED, {}, ())
        # The same seed is the same luck at every batch size, and some of its own: what pairing takes away, and leaves.
        luck = self.noise * (_normal(f"{training.seed}") + 0.5 * _normal(trial.id))
        reached = self.slower(trial) * self.steps(size) * math.exp(luck) * (1 + 0.25 * math.log2(off) ** 2)
        total = steps_for(training.budget, size, ROWS) or 1
        history = tuple(
            Report(
                step=step,
                examples=step * size,
                seconds=step * self.step_seconds(size, workers),
                metrics={"val_loss": (loss := TARGET * (reached / step) ** 0.5), "train_loss": 0.9 * loss},
            )
            for step in report_steps(total, training.evaluations)
        )
        last = history[-1]
        figures = {
            "val_loss": Estimate.exact(last.metrics["val_loss"]),
            "train_loss": Estimate.exact(last.metrics["train_loss"]),
            "train_seconds": Estimate.exact(last.seconds),
            "steps": Estimate.exact(last.step),
            "examples": Estimate.exact(last.examples),
            "examples_per_second": Estimate.exact(last.examples / last.seconds),
        }
        if self.noise_scale is not None:
            figures["noise_scale"] = self.noise_scale
        return _result(trial, Status.COMPLETED, figures, history)

    def _probe(self, trial: Trial, config: ProbeConfig) -> TrialResult:
        largest = min(self.largest_micro_batch, config.max_micro_batch_size)
        figures = {"largest_micro_batch_size": Estimate.exact(largest)}
        for micro in (2**i for i in range(largest.bit_length())):
            batch = micro * config.num_workers
            seconds = self.step_seconds(batch, config.num_workers)
            figures[f"step_seconds_micro_batch_{micro}"] = Estimate.exact(seconds)
            figures[f"examples_per_second_micro_batch_{micro}"] = Estimate.exact(batch / seconds)
        return _result(trial, Status.COMPLETED, figures, ())


def play(plan: Plan, law: Law, *, limit: int = 500) -> tuple[dict[str, Trial], dict[str, TrialResult]]:
    """Run whatever the plan asks for, all that is open at a time, until nothing is: (trials, results), in order."""
    trials = {trial.id: trial for trial in plan.trials}
    results: dict[str, TrialResult] = {}
    for _ in range(limit):
        for trial in trials.values():
            if trial.id not in results:
                results[trial.id] = law.result(trial)
        more = {trial.id: trial for trial in further_trials(plan, results)}
        if more.keys() <= trials.keys():
            assert settled(plan, results)
            return trials, results
        trials.update(more)
    raise AssertionError("the procedure does not come to an end")


def _result(trial: Trial, status: Status, metrics: dict[str, Estimate], history: tuple[Report, ...]) -> TrialResult:
    return TrialResult(id=trial.id, config=trial.config, status=status, metrics=metrics, history=history)


def _normal(text: str) -> float:
    return float(np.random.default_rng(zlib.crc32(text.encode())).normal())
