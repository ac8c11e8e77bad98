"""The rules that span several keys of a sweep file. Each notes what is wrong at the key that should change."""

from __future__ import annotations

from typing import Any

from orchestrator.document import Given
from orchestrator.draft import Draft
from orchestrator.metrics import is_relative, known_metrics, objective_metrics, training_metrics
from orchestrator.problems import listing
from orchestrator.scaling import scaled_rates
from orchestrator.schema import MAX_LEARNING_RATE, MAX_TRIALS
from orchestrator.spec import Goal, TopParents
from trainables.batching import steps_for
from trainables.config import Measure


def check(draft: Draft) -> None:
    """Every rule, on the sections that could be read."""
    _batch_divides_by_workers(draft)
    _batch_fits_the_data(draft)
    _budget_takes_a_step(draft)
    _scaled_rates_are_sane(draft)
    _not_too_many_trials(draft)
    _objective_is_known(draft)
    _early_stopping_can_work(draft)
    _measured_batches_differ(draft)
    for goal in draft.goals:
        _goal_is_known(draft, goal)
        _goal_value_is_sane(goal)
    _goals_differ(draft)


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
    too_big = []
    for batch in draft.axes.batch_size:
        try:
            steps_for(budget, batch.value, rows)
        except ValueError:
            too_big.append(batch.value)
    if too_big:
        draft.budget.node.child(budget.unit).fail(
            f"never finishes a step of batch_size {listing(map(str, too_big))}",
            allowed=f"enough for at least {max(too_big)} examples",
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


def _objective_is_known(draft: Draft) -> None:
    if draft.objective is None:
        return
    objective, node = draft.objective.value, draft.objective.node
    metrics = draft.facts.metrics if draft.facts else {}
    names = objective_metrics(metrics)
    if metrics and objective.metric not in names:
        message = "is not a metric of the task"
        if objective.metric in training_metrics(metrics):
            message = "cannot be optimised: choices are made on validation data"
        node.fail(message, allowed=listing(names), close_to=names, at=("metric",))
    elif metrics and objective.mode not in (None, names[objective.metric]):
        better = "higher" if names[objective.metric] == "max" else "lower"
        message = f"is the wrong way round: {better} {objective.metric} is better"
        node.fail(message, allowed=f"{names[objective.metric]}, or leave it out", at=("mode",))
    elif draft.facts and not metrics and objective.mode is None:
        node.fail("is missing: the task's source does not tell it", allowed="min, max", at=("mode",))
    if objective.target is not None and objective.metric.startswith("best_val_"):
        reading = objective.metric.removeprefix("best_")
        message = f"needs an objective that is read while training; with {objective.metric} nothing can be reached"
        node.fail(message, allowed=f"metric: {reading}", at=("target",))


def _early_stopping_can_work(draft: Draft) -> None:
    stopping = draft.early_stopping
    if stopping is None:
        return
    if draft.objective and not draft.objective.value.metric.startswith("val_"):
        stopping.node.fail(
            f"needs an objective that is read while training, and {draft.objective.value.metric} is not",
            allowed="an objective whose metric begins with val_",
        )
    if draft.budget and draft.budget.value.unit == "seconds":
        stopping.node.fail("counts examples, and a budget in seconds has no number of them", allowed="another budget")
    if draft.evaluations < 2:
        stopping.node.fail("needs a reading before the last one", allowed="evaluations of at least 2")


def _measured_batches_differ(draft: Draft) -> None:
    if draft.measure and len(set(draft.measure.value.batch_sizes)) < len(draft.measure.value.batch_sizes):
        draft.measure.node.fail("holds duplicates", allowed="two different batch sizes", at=("batch_sizes",))


def _goal_is_known(draft: Draft, goal: Given[Goal]) -> None:
    metrics = draft.facts.metrics if draft.facts else {}
    metric, node = goal.value.metric, goal.node
    names = known_metrics(metrics, draft.measure.value if draft.measure else Measure())
    if metrics and metric not in names:
        node.fail("is not a metric", allowed=listing(names), close_to=names, at=("metric",))
        return
    if goal.value.type != "threshold" and is_relative(metric):
        node.fail(
            f"cannot be used: {metric} is a comparison with the parent already", allowed="threshold", at=("type",)
        )
    if "compression" in draft.root.value:
        return
    if goal.value.type != "threshold":
        message = "compares a variant with its parent, and the file has no compression"
        node.fail(message, allowed="threshold, or add the section compression", at=("type",))
    elif metrics and metric not in training_metrics(metrics):
        names = training_metrics(metrics)
        message = "is measured on exported models, and the file has no compression"
        node.fail(message, allowed=f"{listing(names)}, or add the section compression", at=("metric",))


def _goal_value_is_sane(goal: Given[Goal]) -> None:
    metric, kind, value = goal.value.metric, goal.value.type, goal.value.value
    if kind == "threshold":
        counted = ("artifact_bytes", "parameters", "latency_", "examples", "steps", "train_seconds")
        if metric.startswith(counted) and value <= 0:
            goal.node.fail(f"can never be met: {metric} is positive", allowed="numbers above 0", at=("value",))
        return
    if value < 0:
        sign = "an improvement" if kind.endswith("improvement") else "a degradation"
        goal.node.fail(f"must not be negative: it is the size of {sign}", allowed="numbers from 0", at=("value",))
    elif kind == "percent-min-improvement" and value >= 100 and _shrinks(metric):
        goal.node.fail("can never be met: nothing shrinks by 100 %", allowed="numbers below 100", at=("value",))
    elif kind.startswith("percent") and 0 < value < 0.01:
        goal.node.fail("is in percent: 1 is one hundredth", allowed="0, or numbers from 0.01", at=("value",))


def _shrinks(metric: str) -> bool:
    return metric.startswith(("artifact_bytes", "parameters", "latency_", "train_seconds"))


def _goals_differ(draft: Draft) -> None:
    seen: dict[tuple[Any, ...], int] = {}
    for index, goal in enumerate(draft.goals):
        key = (goal.value.metric, goal.value.type)
        if key in seen:
            goal.node.fail(f"is a duplicate: {key[1]} of {key[0]} has a goal already; keep one")
        seen.setdefault(key, index)
