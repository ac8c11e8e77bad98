"""Turns a sweep into its plan: the grid of baselines, and the variants that wait for a parent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.planning.auto_design import bounds, first_trials
from orchestrator.planning.grid import grid_of
from orchestrator.planning.notes import file_notes, growth_notes, noise_notes
from orchestrator.planning.variants import pending_variants
from orchestrator.planning.workload import known_most, work_of
from orchestrator.sweep.plan import Plan, Stage, StageBound, Trial
from orchestrator.sweep.spec import AutoBatchSize, ScaledLearningRate, Sweep


def expand(sweep: Sweep) -> Plan:
    """Every trial of a sweep. Pure: the same sweep gives the same plan, in the same order."""
    notes = tuple(file_notes(sweep))
    if isinstance(sweep.parameters.batch_size, AutoBatchSize):
        first = first_trials(sweep)
        return Plan(sweep, first, (), notes, bounds(sweep, first))
    grid = grid_of(sweep)
    trials = tuple(trial for configuration in grid for trial in configuration)
    notes += (*growth_notes(sweep, trials), *noise_notes(sweep, trials))
    return Plan(sweep, trials, pending_variants(sweep, grid), notes, tuple(_edge_bounds(sweep, trials)))


def _edge_bounds(sweep: Sweep, trials: Sequence[Trial]) -> Iterator[StageBound]:
    """Upper bound of the learning rates that a grid may add: `extend` for every choice of the other settings."""
    rate = sweep.parameters.learning_rate
    if isinstance(rate, ScaledLearningRate) and rate.extend:
        count = len(trials) // len(rate.multipliers) * rate.extend
        examples = known_most(work_of(trial.config, sweep.facts.train_rows).examples for trial in trials)
        words = f"up to {rate.extend} learning rates wherever the best is an edge"
        yield StageBound(Stage.EDGE, count, None if examples is None else count * examples, words)
