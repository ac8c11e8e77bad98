"""The rules that span several keys of a sweep file. Each notes a problem at the key that should change."""

from __future__ import annotations

import math

from orchestrator.diagnostics.node import Node
from orchestrator.diagnostics.schema_text import MAX_LEARNING_RATE, MAX_TRIALS
from orchestrator.planning.scaling import scaled_rates
from orchestrator.planning.workload import budget_fractions, takes_a_step
from orchestrator.sweep.spec import TopParents
from orchestrator.sweepfile.auto_rules import check_auto
from orchestrator.sweepfile.metric_rules import check_goals, check_metric_names, check_objective
from orchestrator.sweepfile.partial_sweep import Draft
from orchestrator.sweepfile.recipe_rules import check_recipes
from orchestrator.text import listing
from trainables.config.batching import examples_in, part_of
from trainables.config.training import GrowAt


def check_rules(draft: Draft) -> None:
    """Apply every rule to the sections that could be read."""
    _batch_divides_by_workers(draft)
    _batch_fits_the_data(draft)
    _budget_takes_a_step(draft)
    _chains_take_a_step(draft)
    _scaled_rates_are_sane(draft)
    check_recipes(draft)
    _not_too_many_trials(draft)
    check_auto(draft)
    check_metric_names(draft)
    check_objective(draft)
    _early_stopping_can_work(draft)
    _measuring_can_work(draft)
    _batches_can_grow(draft)
    _there_is_somebody_to_meet(draft)
    check_goals(draft)


def _batch_divides_by_workers(draft: Draft) -> None:
    for batch in draft.axes.batch_size:
        wrong = [workers.value for workers in draft.axes.num_workers if batch.value % workers.value]
        if wrong:
            below, above = batch.value // wrong[0] * wrong[0], -(-batch.value // wrong[0]) * wrong[0]
            batch.node.fail(
                f"does not divide by num_workers {listing(map(str, wrong))}: every worker takes the same share",
                allowed=f"a multiple of {wrong[0]}, such as {f'{below} or ' if below else ''}{above}",
            )


def _batch_fits_the_data(draft: Draft) -> None:
    rows = draft.facts.train_rows if draft.facts else None
    for batch in draft.axes.batch_size:
        if rows is not None and batch.value > rows:
            batch.node.fail(f"is larger than the training data, which has {rows} rows", allowed=f"at most {rows}")


def _budget_takes_a_step(draft: Draft) -> None:
    if draft.budget is None:
        return
    budget, rows = draft.budget.value, draft.facts.train_rows if draft.facts else None
    if budget.unit == "epochs" and rows is None:
        return
    too_big = [batch.value for batch in draft.axes.batch_size if not takes_a_step(budget, batch.value, rows)]
    if too_big:
        draft.budget.node.child(budget.unit).fail(
            f"never finishes a step of batch_size {listing(map(str, too_big))}",
            allowed=f"enough for at least {max(too_big)} examples",
        )


def _chains_take_a_step(draft: Draft) -> None:
    """A method's fraction of the budget must suffice for at least one step; otherwise it would train nothing."""
    if draft.budget is None or draft.compression is None:
        return
    rows = draft.facts.train_rows if draft.facts else None
    if draft.budget.value.unit == "epochs" and rows is None:
        return
    largest = max((batch.value for batch in draft.axes.batch_size), default=1)
    if not takes_a_step(draft.budget.value, largest, rows):
        return  # the problem of the budget itself has been noted already
    for index, chain in enumerate(draft.compression.value.variants):
        for fraction in budget_fractions(chain):
            if not takes_a_step(part_of(draft.budget.value, fraction), largest, rows):
                part = part_of(draft.budget.value, fraction)
                draft.compression.node.fail(
                    f"trains for {fraction:g} of the budget, {part.amount:g} {part.unit}, which never finishes a step "
                    f"of batch_size {largest}",
                    allowed="a larger budget or a larger budget_fraction",
                    at=("variants", index),
                )


def _scaled_rates_are_sane(draft: Draft) -> None:
    scaled = draft.axes.scaled_learning_rate
    if scaled is None:
        return
    for batch in draft.axes.batch_size:
        wrong = [rate for rate, _ in scaled_rates(scaled.value, batch.value) if not 0 < rate <= MAX_LEARNING_RATE]
        if wrong:
            scaled.node.fail(
                f"gives the rate {wrong[0]:g} at batch_size {batch.value}",
                allowed=f"numbers above 0, up to {MAX_LEARNING_RATE:g}",
                at=("base",),
            )


def _not_too_many_trials(draft: Draft) -> None:
    configurations, seeds = draft.axes.number_of_configurations(), max(1, len(draft.axes.seed))
    configurations *= len(draft.task.combinations()) if draft.task else 1
    variants = 0
    if draft.compression:
        plan, node = draft.compression.value, draft.compression.node
        match plan.parents:
            case "all":
                parents = configurations
            case TopParents(top=top):
                parents = top
                if top > configurations:
                    node.fail(
                        f"asks for more parents than the sweep has configurations ({configurations})",
                        allowed=f"at most {configurations}",
                        at=("parents", "top"),
                    )
            case _:
                parents = len(draft.axes.batch_size)
        variants = parents * (seeds if plan.seeds == "all" else 1) * (1 + len(plan.variants))
    total = configurations * seeds + variants
    if total > MAX_TRIALS:
        message = f"make {configurations * seeds} baselines and {variants} variants, {total} trials in all"
        draft.root.fail(message, allowed=f"at most {MAX_TRIALS}", at=("parameters",))


def _early_stopping_can_work(draft: Draft) -> None:
    stopping = draft.early_stopping
    if stopping is None:
        return
    metric = draft.objective.metric if draft.objective else None
    if metric and not metric.startswith("val_"):
        stopping.node.fail(
            f"needs an objective that is evaluated during training, and {metric} is not",
            allowed="an objective whose metric begins with val_",
        )
    if draft.budget and draft.budget.value.unit == "seconds":
        stopping.node.fail("counts examples, but the budget is in seconds", allowed="another budget")
    if draft.evaluations < 2:
        stopping.node.fail("needs an evaluation before the last one", allowed="evaluations of at least 2")


def _measuring_can_work(draft: Draft) -> None:
    if draft.measure is None:
        return
    if len(set(draft.measure.value.batch_sizes)) < len(draft.measure.value.batch_sizes):
        draft.measure.node.fail("holds duplicates", allowed="two different batch sizes", at=("batch_sizes",))
    if draft.measure.value.device == "cuda" and draft.has_int8:
        draft.measure.node.fail("cannot run int8", allowed="cpu or auto; or no int8", at=("device",))


def _batches_can_grow(draft: Draft) -> None:
    for schedule in draft.axes.batch_schedule:
        if schedule.value.name == "fixed":
            continue
        if draft.budget and draft.budget.value.unit not in ("examples", "epochs"):
            message = f"grows at numbers of examples, but the budget is in {draft.budget.value.unit}"
            schedule.node.fail(message, allowed="fixed, or a budget in examples or epochs")
        if schedule.value.name == "grow_with_noise" and draft.noise_scale is None:
            schedule.node.fail("needs the noise scale, which noise_scale: false switches off", allowed="fixed, grow_at")
        if isinstance(schedule.value, GrowAt):
            _grows_within_the_budget(draft, schedule.node, schedule.value)


def _grows_within_the_budget(draft: Draft, node: Node, schedule: GrowAt) -> None:
    rows = draft.facts.train_rows if draft.facts else None
    try:
        end = examples_in(draft.budget.value, rows) if draft.budget else None
    except ValueError:
        return  # the budget is unknown, or has been refused
    for index, point in enumerate(schedule.examples or ()):
        if end is not None and point >= end:
            node.fail(
                f"lies beyond the end of the budget, {float(end):.15g} examples",
                allowed=f"whole numbers from 1 to {math.ceil(end) - 1}",
                at=("examples", index),
            )


def _there_is_somebody_to_meet(draft: Draft) -> None:
    if draft.axes.num_workers and all(workers.value == 1 for workers in draft.axes.num_workers):
        for steps in draft.axes.sync_every_steps:
            if steps.value is not None:
                steps.node.fail("needs workers that train beside each other", allowed="num_workers of at least 2")
