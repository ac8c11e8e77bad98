"""What `batch_size: auto` asks of the rest of a sweep file."""

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
MIN_RANGE = 4  # of batch sizes, largest over smallest


def check_auto(draft: Draft) -> None:
    """Nothing, for a file that gives its batch sizes."""
    if draft.axes.auto_batch_size is None:
        return
    _there_is_a_target(draft)
    _rates_can_be_carried(draft)
    _one_of_everything_else(draft)
    _batches_stay(draft)
    _there_is_a_range(draft)
    if draft.budget and draft.budget.value.unit == "seconds":
        draft.budget.node.fail(
            "does not tell how many examples a batch size may take, which auto must know",
            allowed="a budget in examples, epochs or steps",
        )


def _there_is_a_target(draft: Draft) -> None:
    objective = draft.objective
    if objective is not None and objective.target is None and "target" not in objective.node.value:
        objective.node.fail(
            "is missing: batch_size auto finds what reaches a target fastest",
            allowed="a value of the objective that good training reaches well within the budget",
            at=("target",),
        )


def _rates_can_be_carried(draft: Draft) -> None:
    """Which batch sizes will be tried is not known, so rates cannot be listed."""
    axes = draft.axes
    if axes.scaled_learning_rate is None and axes.learning_rate and axes.auto_batch_size:
        node = axes.auto_batch_size.node
        node.fail(
            "needs a learning rate that can be carried to any batch size",
            allowed="learning_rate: {base: 0.1, at_batch_size: 64, rule: linear}",
        )


def _one_of_everything_else(draft: Draft) -> None:
    """Workers and precisions are chosen by their probes; of the rest there must be one."""
    lists = {
        axis.name: value for axis in fields(draft.axes) if isinstance(value := getattr(draft.axes, axis.name), list)
    }
    kept = (*CHOSEN_AXES, *CHECKED_ELSEWHERE)
    places = [("parameters", name) for name, given in lists.items() if len(given) > 1 and name not in kept]
    swept = [("task", "options", name) for name in (draft.task.swept if draft.task else ())]
    for place in (*places, *swept):
        one = "one value; `confirm_seeds` says how many confirm" if place[-1] == "seed" else "one value"
        draft.root.fail(
            "has several values, and batch_size auto is found for one",
            allowed=f"{one}; or batch sizes in place of auto",
            at=place,
        )


def _batches_stay(draft: Draft) -> None:
    """A curve over batch sizes is one of sizes that stay; one that grows is another from step to step."""
    for schedule in draft.axes.batch_schedule:
        if schedule.value.name != "fixed":
            schedule.node.fail(
                "lets the batch grow, and batch_size auto looks for one that stays",
                allowed="fixed; or batch sizes in place of auto",
            )


def _there_is_a_range(draft: Draft) -> None:
    auto, rows = draft.axes.auto_batch_size, draft.facts.train_rows if draft.facts else None
    if auto is None or draft.budget is None:
        return
    largest = auto.value.largest
    if rows is not None and largest is not None and largest > rows:
        auto.node.fail(f"goes beyond the training data, which has {rows} rows", allowed=f"a largest of at most {rows}")
    workers = [given.value for given in draft.axes.num_workers] or [1]
    sizes = sizes_of(auto.value, workers, rows, draft.budget.value)
    if len(sizes) < auto.value.fit_sizes or sizes[-1] < MIN_RANGE * sizes[0]:
        found = f"only {sizes[0]} to {sizes[-1]}" if sizes else "no batch size"
        auto.node.fail(
            f"leaves {found} within data, budget and workers: too little to fit a curve",
            allowed=f"a smaller `smallest`, or a budget and data for {MIN_RANGE} times as large",
        )
        return
    _runs_take_a_step(draft.budget, sizes, rows)


def _runs_take_a_step(budget: Placed[Budget], sizes: list[int], rows: int | None) -> None:
    """The short run has a part of the budget for the size in the middle, every other run all of it."""
    part, middle = part_of(budget.value, SHORT_RUN_FRACTION), middle_of(sizes)
    if not takes_a_step(budget.value, sizes[-1], rows):
        budget.node.child(budget.value.unit).fail(
            f"never finishes a step of batch_size {sizes[-1]}, which auto may try",
            allowed=f"enough for at least {sizes[-1]} examples, or a smaller `largest`",
        )
    elif not takes_a_step(part, middle, rows):
        budget.node.child(budget.value.unit).fail(
            f"never finishes a step of the short run, which has {SHORT_RUN_FRACTION:g} of it and batch_size {middle}",
            allowed=f"enough for at least {math.ceil(middle / SHORT_RUN_FRACTION)} examples, or a smaller `largest`",
        )
