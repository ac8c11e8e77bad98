"""The rules that `batch_size: auto` adds for the rest of a sweep file."""

from __future__ import annotations

import math
from dataclasses import fields

from orchestrator.diagnostics.node import Placed
from orchestrator.planning.auto_design import SHORT_RUN_FRACTION, middle_of, sizes_of
from orchestrator.planning.workload import takes_a_step
from orchestrator.sweepfile.partial_sweep import Draft
from trainables.config.batching import part_of
from trainables.config.training import Budget

CHOSEN_AXES = ("num_workers", "precision")
CHECKED_ELSEWHERE = ("batch_size", "learning_rate")
MIN_RANGE = 4  # least ratio of the largest to the smallest batch size


def check_auto(draft: Draft) -> None:
    """Check all rules; a file that lists its batch sizes passes."""
    if draft.axes.auto_batch_size is None:
        return
    _there_is_a_target(draft)
    _rates_can_be_carried(draft)
    _one_of_everything_else(draft)
    _batches_stay(draft)
    _there_is_a_range(draft)
    if draft.budget and draft.budget.value.unit == "seconds":
        draft.budget.node.fail(
            "does not limit the examples of a trial, which batch_size auto needs to choose batch sizes",
            allowed="a budget in examples, epochs or steps",
        )


def _there_is_a_target(draft: Draft) -> None:
    objective = draft.objective
    if objective is not None and objective.target is None and "target" not in objective.node.value:
        objective.node.fail(
            "is missing: batch_size auto finds the batch size that reaches a target fastest",
            allowed="a value of the objective that good training reaches well within the budget",
            at=("target",),
        )


def _rates_can_be_carried(draft: Draft) -> None:
    """The batch sizes are not known in advance, so the learning rate must follow a rule."""
    axes = draft.axes
    if axes.scaled_learning_rate is None and axes.learning_rate and axes.auto_batch_size:
        node = axes.auto_batch_size.node
        node.fail(
            "needs a rule for the learning rate, as the batch sizes are not known in advance",
            allowed="learning_rate: {base: 0.1, at_batch_size: 64, rule: linear}",
        )


def _one_of_everything_else(draft: Draft) -> None:
    """Probes choose the number of workers and the precision; every other axis must have one value."""
    lists = {
        axis.name: value for axis in fields(draft.axes) if isinstance(value := getattr(draft.axes, axis.name), list)
    }
    kept = (*CHOSEN_AXES, *CHECKED_ELSEWHERE)
    places = [("parameters", name) for name, given in lists.items() if len(given) > 1 and name not in kept]
    swept = [("task", "options", name) for name in (draft.task.swept if draft.task else ())]
    for place in (*places, *swept):
        one = "one value; `confirm_seeds` is the number of fresh seeds" if place[-1] == "seed" else "one value"
        draft.root.fail(
            "has several values, but batch_size auto needs one",
            allowed=f"{one}; or a list of batch sizes instead of auto",
            at=place,
        )


def _batches_stay(draft: Draft) -> None:
    """The curve over batch sizes is fitted to constant sizes; a batch that grows has no single size."""
    for schedule in draft.axes.batch_schedule:
        if schedule.value.name != "fixed":
            schedule.node.fail(
                "lets the batch grow, but batch_size auto looks for a constant size",
                allowed="fixed; or a list of batch sizes instead of auto",
            )


def _there_is_a_range(draft: Draft) -> None:
    auto, rows = draft.axes.auto_batch_size, draft.facts.train_rows if draft.facts else None
    if auto is None or draft.budget is None:
        return
    largest = auto.value.largest
    if rows is not None and largest is not None and largest > rows:
        auto.node.fail(f"exceeds the training data, which has {rows} rows", allowed=f"a largest of at most {rows}")
    workers = [given.value for given in draft.axes.num_workers] or [1]
    sizes = sizes_of(auto.value, workers, rows, draft.budget.value)
    if len(sizes) < auto.value.fit_sizes or sizes[-1] < MIN_RANGE * sizes[0]:
        found = f"only {sizes[0]} to {sizes[-1]}" if sizes else "no batch size"
        auto.node.fail(
            f"leaves {found} within data, budget and workers: too few to fit a curve",
            allowed=f"a smaller `smallest`, or a budget and data for batch sizes {MIN_RANGE} times as large",
        )
        return
    _runs_take_a_step(draft.budget, sizes, rows)


def _runs_take_a_step(budget: Placed[Budget], sizes: list[int], rows: int | None) -> None:
    """The short run gets a part of the budget, at the middle batch size; every other run gets all of it."""
    part, middle = part_of(budget.value, SHORT_RUN_FRACTION), middle_of(sizes)
    if not takes_a_step(budget.value, sizes[-1], rows):
        budget.node.child(budget.value.unit).fail(
            f"never finishes a step of batch_size {sizes[-1]}, which auto may try",
            allowed=f"enough for at least {sizes[-1]} examples, or a smaller `largest`",
        )
    elif not takes_a_step(part, middle, rows):
        budget.node.child(budget.value.unit).fail(
            f"never finishes a step of the short run, which gets {SHORT_RUN_FRACTION:g} of the budget at batch_size "
            f"{middle}",
            allowed=f"enough for at least {math.ceil(middle / SHORT_RUN_FRACTION)} examples, or a smaller `largest`",
        )
