"""Checks that the objective and the goals of a sweep file name metrics that its trials report, each by one name."""

from __future__ import annotations

from orchestrator.sweep.metrics import (
    is_of_training,
    is_relative,
    known_metrics,
    mlflow_key,
    objective_metrics,
    training_metrics,
    variant_metrics,
)
from orchestrator.sweep.spec import Mode
from orchestrator.sweepfile.partial_sweep import Draft, GoalDraft
from orchestrator.text import listing
from trainables.config.trial import MeasureSettings

POSITIVE = ("artifact_bytes", "parameters", "latency_", "examples", "steps", "train_seconds")  # lower is better, too
VARIANT_SUFFIXES = tuple(
    change + end for change in ("", "_change") for end in ("", "_low", "_high")
)  # of a figure's names
MAX_METRIC_CHARACTERS = 200  # MLflow takes 250, prefixes and suffixes included
NOT_TRAINED = "is a metric of training only, and variants such as uncompressed and int8 are not trained"


def check_metric_names(draft: Draft) -> None:
    """Two metrics must not share a name: they would overwrite each other. MLflow replaces some characters by `_`."""
    owners = {"seconds": "the time of a training, train_seconds"}
    for metric in draft.facts.metrics if draft.facts else ():
        keys = {mlflow_key(f"{metric}{suffix}") for suffix in VARIANT_SUFFIXES}
        task = draft.root.child("task")
        if taken := sorted(keys & owners.keys()):
            message = f"has the metric {metric!r}, one of whose figures would have the same name as {owners[taken[0]]}"
            task.fail(f"{message}: in MLflow, {taken[0]}", allowed="metrics that differ in their letters or digits")
        elif len(metric) > MAX_METRIC_CHARACTERS:
            task.fail(f"has the metric {metric!r}", allowed=f"names of up to {MAX_METRIC_CHARACTERS} characters")
        owners |= dict.fromkeys(keys, f"one of the metric {metric!r}")


def check_objective(draft: Draft) -> None:
    if draft.objective is None or draft.objective.metric is None:
        return
    metric, mode, node = draft.objective.metric, draft.objective.mode, draft.objective.node
    metrics = draft.facts.metrics if draft.facts else {}
    known = objective_metrics(metrics)
    names = {name: known[name] for name in known if not (_compresses(draft) and is_of_training(name))}
    if _compresses(draft) and metric.startswith("best_val_") and (metric in known or not metrics):
        node.fail(NOT_TRAINED, allowed=metric.removeprefix("best_"), at=("metric",))
        return
    if metrics and metric not in names:
        message = "is not a metric of the task"
        if metric in training_metrics(metrics):
            message = "cannot be optimised: choices are made on validation data"
        node.fail(message, allowed=listing(names), close_to=names, at=("metric",))
    elif metrics and mode not in (None, names[metric]):
        better = "higher" if names[metric] == "max" else "lower"
        message = f"is the wrong direction: {better} {metric} is better"
        node.fail(message, allowed=f"{names[metric]}, or leave it out", at=("mode",))
    elif draft.facts and not metrics and mode is None and "mode" not in node.value:
        node.fail("is missing: the task's source code does not show it", allowed="min, max", at=("mode",))
    if draft.objective.target is not None and metric.startswith("best_val_"):
        message = f"needs an objective that is evaluated during training; {metric} cannot reach a target"
        node.fail(message, allowed=f"metric: {metric.removeprefix('best_')}", at=("target",))


def check_goals(draft: Draft) -> None:
    for goal in draft.goals:
        _goal_is_known(draft, goal)
        _goal_value_is_sane(goal)
    _goals_differ(draft)


def _goal_is_known(draft: Draft, goal: GoalDraft) -> None:
    metrics = draft.facts.metrics if draft.facts else {}
    measure = draft.measure.value if draft.measure else MeasureSettings()
    known = known_metrics(metrics, measure)
    names = variant_metrics(metrics or {"loss": "min"}, measure) if _compresses(draft) else training_metrics(metrics)
    if goal.metric and metrics and goal.metric not in known:
        message = "is not a metric"
        if goal.metric.startswith("latency_") and _compresses(draft):
            message += f" of this sweep: latency is measured at batch sizes {listing(map(str, measure.batch_sizes))}"
        goal.node.fail(message, allowed=listing(names), close_to=names, at=("metric",))
    elif goal.metric and _compresses(draft) and is_of_training(goal.metric):
        goal.node.fail(NOT_TRAINED, allowed=listing(names), close_to=names, at=("metric",))
    elif goal.metric and goal.type not in (None, "threshold") and is_relative(goal.metric):
        message = f"cannot be used: {goal.metric} is a comparison with the parent already"
        goal.node.fail(message, allowed="threshold", at=("type",))
    elif not _compresses(draft):
        _goal_needs_no_variant(goal, training_metrics(metrics) if metrics else {})


def _goal_needs_no_variant(goal: GoalDraft, names: dict[str, Mode]) -> None:
    """In a sweep without compression, goals can limit only metrics that a baseline reports."""
    if goal.type not in (None, "threshold"):
        message = "compares a variant with its parent, but the file has no compression"
        goal.node.fail(message, allowed="threshold, or add the section compression", at=("type",))
    if goal.metric and names and goal.metric not in names:
        message = "is measured on exported models, but the file has no compression"
        goal.node.fail(message, allowed=f"{listing(names)}, or add the section compression", at=("metric",))


def _goal_value_is_sane(goal: GoalDraft) -> None:
    metric, kind, value = goal.metric or "", goal.type, goal.value
    if kind is None or value is None:
        return
    if kind == "threshold":
        if metric.startswith(POSITIVE) and value <= 0:
            goal.node.fail(f"can never be met: {metric} is positive", allowed="numbers above 0", at=("value",))
    elif value < 0:
        what = "an improvement" if kind.endswith("improvement") else "a degradation"
        goal.node.fail(f"must not be negative: it is the size of {what}", allowed="numbers from 0", at=("value",))
    elif kind == "percent-min-improvement" and value >= 100 and metric.startswith(POSITIVE):
        goal.node.fail("can never be met: nothing shrinks by 100 %", allowed="numbers below 100", at=("value",))
    elif kind.startswith("percent") and 0 < value < 0.01:
        goal.node.fail("is in percent: 1 is one hundredth", allowed="0, or numbers from 0.01", at=("value",))


def _goals_differ(draft: Draft) -> None:
    seen = set()
    for goal in draft.goals:
        key = (goal.metric, goal.type)
        if None not in key and key in seen:
            goal.node.fail(f"is a duplicate: {goal.type} of {goal.metric} has a goal already; keep one")
        seen.add(key)


def _compresses(draft: Draft) -> bool:
    """Whether the file has variants to compare, even if their section is wrong."""
    return "compression" in draft.root.value
