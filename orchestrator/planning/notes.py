"""The notes of a plan: settings that are valid but may mislead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.planning.evidence import evidence_of
from orchestrator.planning.workload import baseline_work
from orchestrator.sweep.plan import Trial
from orchestrator.sweep.spec import AutoBatchSize, ScaledLearningRate, Sweep
from orchestrator.text import listing
from trainables.config.optimizers import Optimizer
from trainables.config.training import NoiseScale, Training
from trainables.training.noise_scale import LEAST_DIVIDED_ROWS, LEAST_STEPS, steps_between_measurements


def file_notes(sweep: Sweep) -> Iterator[str]:
    """Notes on settings of the file that are valid but may mislead."""
    axes = sweep.parameters
    rates = axes.learning_rate
    if isinstance(rates, ScaledLearningRate):
        rule = rates.rule
        odd = [optimizer for optimizer in axes.optimizer if rule not in ("none", evidence_of(optimizer).rule)]
        yield from dict.fromkeys(_odd_rule(rule, optimizer) for optimizer in odd)
    else:
        rule = "none"
    if rule == "none" and (isinstance(axes.batch_size, AutoBatchSize) or len(axes.batch_size) > 1):
        yield (
            "all batch sizes train at the same learning rates, so the comparison mixes the effects of batch size and "
            "learning rate; a rule (linear for sgd, sqrt for adam and adamw) with multipliers separates them"
        )
    if any(patience is not None for patience in axes.patience):
        yield (
            "patience ends trials at different parts of the budget: the budget is then the most that each may take, "
            "and not equal work"
        )
    yield from sweep.facts.notes
    if not sweep.facts.complete:
        yield "the task's source code does not show everything without an import: ids may change when it is run"


def growth_notes(sweep: Sweep, trials: Sequence[Trial]) -> Iterator[str]:
    growing = [trial.training for trial in trials if trial.training.batch_schedule.name == "grow_with_noise"]
    stuck = sorted({t.batch_size for t in growing if not _may_grow(t, sweep.facts.train_rows)})
    if stuck:
        yield (
            f"grow_with_noise never grows at batch_size {listing(map(str, stuck))}: too few steps are measured before "
            "the last evaluation but one to determine the noise scale; a larger budget or more evaluations help, or "
            f"a batch of at least {LEAST_DIVIDED_ROWS} rows"
        )


def noise_notes(sweep: Sweep, trials: Sequence[Trial]) -> Iterator[str]:
    """A note if the file requests the noise scale, but trials have too few steps to determine it."""
    if sweep.noise_scale in (None, NoiseScale()):
        return
    fixed = [t.training for t in trials if t.training.noise_scale and t.training.batch_schedule.name == "fixed"]
    short = sorted({t.batch_size for t in fixed if not _may_be_resolved(t, sweep.facts.train_rows)})
    if short:
        yield (
            f"the gradient noise scale stays unresolved at batch_size {listing(map(str, short))}: fewer than "
            f"{LEAST_STEPS + 1} of their steps are measured; a smaller divided_every_steps measures more often, "
            "for more of the time"
        )


def _may_be_resolved(training: Training, train_rows: int | None) -> bool:
    """Whether enough steps are measured for an interval; True if that is unknown, or not requested."""
    every, steps = steps_between_measurements(training), baseline_work(training, train_rows).steps
    return not steps or every is None or steps // every > LEAST_STEPS


def _may_grow(training: Training, train_rows: int | None) -> bool:
    """Whether an evaluation before the last one can have an estimate of the noise scale; True if unknown."""
    every, steps = steps_between_measurements(training, 1, train_rows), baseline_work(training, train_rows).steps
    if not steps:
        return True
    before_last = steps * (training.evaluations - 1) // training.evaluations
    return every is not None and before_last // every > LEAST_STEPS


def _odd_rule(rule: str, optimizer: Optimizer) -> str:
    usual = evidence_of(optimizer).rule
    if usual is None:
        return f"no rule is established for {optimizer.name}: {rule} is a guess, and only multipliers find the rate"
    return f"the {rule} rule is unusual for {optimizer.name}; the literature gives {usual}"
