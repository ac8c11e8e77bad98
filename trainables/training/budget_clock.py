"""The progress of a training run on its budget: the number of steps in the next block, and when an evaluation is due.

Every worker gets the same answers: a budget in steps is arithmetic, and for a budget in seconds the first worker's
clock decides for all.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple, Protocol

import torch
import torch.distributed as dist

from trainables.config.batch_schedule import planned_growth, steps_until_change
from trainables.config.batching import examples_in, report_shares, report_steps, steps_for
from trainables.config.training import Training
from trainables.distributed.worker_context import WorkerContext
from trainables.training.checkpoint import TrainingState

MAX_BLOCK_STEPS = 64  # steps between two checks of the losses: on CUDA each check waits for the device


class StepBlock(NamedTuple):
    """The next block of steps; empty if an evaluation is due. `progress` is the spent share of the budget, 0 to 1."""

    steps: int
    progress: float
    progress_per_step: float


class BudgetClock(Protocol):
    """`reports` is the number of evaluations so far, `seconds` the training time so far."""

    def next_block(self, reports: int, step: int, seconds: float) -> StepBlock: ...

    def is_over(self, reports: int) -> bool: ...


class StepClock:
    """A budget whose number of steps is known."""

    def __init__(self, total_steps: int, evaluations: int) -> None:
        self.total_steps = total_steps
        self.report_steps = report_steps(total_steps, evaluations)

    def next_block(self, reports: int, step: int, seconds: float) -> StepBlock:
        steps = min(self.report_steps[reports] - step, MAX_BLOCK_STEPS)
        return StepBlock(steps, step / self.total_steps, 1 / self.total_steps)

    def is_over(self, reports: int) -> bool:
        return reports == len(self.report_steps)


class ExamplesClock:
    """A budget in examples, for a run whose batch may grow: blocks end where it grows; evaluations come by examples.

    A batch that grows with its noise scale decides at evaluations, and never shrinks. It has no early evaluations,
    because the noise scale of the first steps is the least informative about later steps.
    """

    def __init__(self, training: Training, budget_examples: Fraction, state: TrainingState) -> None:
        self.training = training
        self.budget_examples = budget_examples
        self.state = state
        first = Fraction(1, training.evaluations) if training.batch_schedule.name == "grow_with_noise" else 0
        self.due = [budget_examples * share for share in report_shares(training.evaluations) if share >= first]

    def next_block(self, reports: int, step: int, seconds: float) -> StepBlock:
        """Also lets the batch grow, if it is due to grow here."""
        schedule, examples = self.training.batch_schedule, self._examples
        self.state.growth = max(self.state.growth, planned_growth(schedule, self.budget_examples, examples))
        size = self._size
        steps = steps_until_change(schedule, self.budget_examples, examples, size)
        last = self.state.history[-1].examples if self.state.history else 0
        due = next(mark for mark in self.due if mark > last)
        steps = min(steps, max(0, -int((examples - due) // size)), MAX_BLOCK_STEPS)
        return StepBlock(steps, float(examples / self.budget_examples), float(size / self.budget_examples))

    def is_over(self, reports: int) -> bool:
        reported = self.state.history[-1].step if self.state.history else 0
        return reported == self.state.step > 0 and self._examples + self._next_size > self.budget_examples

    @property
    def _examples(self) -> int:
        return self.state.rows * self.training.num_workers

    @property
    def _size(self) -> int:
        return self.training.batch_size * self.state.growth

    @property
    def _next_size(self) -> int:
        planned = planned_growth(self.training.batch_schedule, self.budget_examples, self._examples)
        return self.training.batch_size * max(self.state.growth, planned)


class SecondsClock:
    """A budget in seconds. Blocks shrink towards each evaluation, so that it is late by less than one step.

    Evaluations are evenly spread, without early ones: each comes after at least one step, so with slow steps early ones
    would exceed the budget. They are also needed less: in equal time, steps differ less than batch sizes.
    """

    def __init__(self, budget_seconds: float, evaluations: int, worker: WorkerContext) -> None:
        self.budget_seconds = budget_seconds
        self.evaluations = evaluations
        self.worker = worker
        self._last_report = (-1, 0)  # number of evaluations, and the step at which that number was first seen
        self._last_block = (0, 0.0)  # step and seconds when the last block began
        self._seconds_per_step = 0.0

    def next_block(self, reports: int, step: int, seconds: float) -> StepBlock:
        before, seconds_before = self._last_block
        if step > before:
            self._seconds_per_step = (seconds - seconds_before) / (step - before)
        self._last_block = (step, seconds)
        if self._last_report[0] != reports:
            self._last_report = (reports, step)
        remaining = self.budget_seconds * (reports + 1) / self.evaluations - seconds
        return self._agreed(
            StepBlock(
                self._steps_within(remaining, first=step == self._last_report[1]),
                seconds / self.budget_seconds,
                self._seconds_per_step / self.budget_seconds,
            )
        )

    def is_over(self, reports: int) -> bool:
        return reports == self.evaluations

    def _steps_within(self, remaining_seconds: float, *, first: bool) -> int:
        if self._seconds_per_step == 0.0:
            return 1
        fitting = remaining_seconds / self._seconds_per_step
        if fitting < 0.5 and not first:  # an evaluation comes after at least one step
            return 0
        return max(1, min(int(fitting / 2), MAX_BLOCK_STEPS))

    def _agreed(self, block: StepBlock) -> StepBlock:
        """The first worker's decision, on every worker."""
        if self.worker.world_size == 1:
            return block
        message = torch.tensor(block, dtype=torch.float64, device=self.worker.device)
        dist.broadcast(message, src=0)
        steps, progress, progress_per_step = message.tolist()
        return StepBlock(int(steps), progress, progress_per_step)


def clock_of(training: Training, train_rows: int, worker: WorkerContext, state: TrainingState) -> BudgetClock:
    """The pace of a run. Raises ValueError if the budget ends before one step."""
    total_steps = steps_for(training.budget, training.batch_size, train_rows)
    if training.batch_schedule.name != "fixed":
        return ExamplesClock(training, examples_in(training.budget, train_rows), state)
    if total_steps is None:
        return SecondsClock(training.budget.amount, training.evaluations, worker)
    return StepClock(total_steps, training.evaluations)
