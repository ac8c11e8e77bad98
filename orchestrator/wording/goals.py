"""Sentences about goals: the limit, the value reached, and whether the two differ by more than noise."""

from __future__ import annotations

from orchestrator.analysis.goals import (
    GoalResult,
    NoParent,
    NothingMeasured,
    NotMeasured,
    ParentIsZero,
    ParentNotMeasured,
    WhyNotJudged,
    goals_missed,
)
from orchestrator.analysis.latencies import NotQuiet
from orchestrator.analysis.rows import Row
from orchestrator.analysis.table import SweepTable
from orchestrator.sweep.spec import Goal, Mode
from orchestrator.wording.format import number, quantity, summary_words, unit_of
from trainables.results import Status


def goal_words(goal: Goal, mode: Mode) -> str:
    """The limit of a goal: `val_accuracy at most 0.01 lower than the parent's`."""
    divisor, unit = (1.0, "%") if goal.type.startswith("percent") else unit_of(goal.metric)
    amount = f"{goal.value / divisor:g} {unit}".rstrip()
    match goal.type:
        case "threshold":
            return f"{goal.metric} at {'least' if mode == 'max' else 'most'} {amount}"
        case "min-improvement" | "percent-min-improvement":
            return f"{goal.metric} at least {amount} {'higher' if mode == 'max' else 'lower'} than the parent's"
        case _:
            return f"{goal.metric} at most {amount} {'lower' if mode == 'max' else 'higher'} than the parent's"


def result_words(result: GoalResult, mode: Mode) -> str:
    """One sentence: the limit, the value reached, and whether the two differ by more than noise."""
    asked = goal_words(result.goal, mode)
    if result.achieved is None or result.margin is None:
        return f"{asked}: not determined ({why_not_judged(result.reason)})"
    doubt = f", within noise (margin {_margin_words(result)})" if result.within_noise else ""
    return f"{asked}: {result.verdict}, {_achieved_words(result, mode)}{doubt}"


def _achieved_words(result: GoalResult, mode: Mode) -> str:
    value, goal = result.achieved or 0.0, result.goal
    if goal.type == "threshold":
        return f"it is {quantity(goal.metric, value)}"
    percent = goal.type.startswith("percent")
    amount = f"{number(abs(value), 2)} %" if percent else quantity(goal.metric, abs(value), 2)
    if value == 0:
        return "no change"
    return f"{amount} {'higher' if (value > 0) == (mode == 'max') else 'lower'}"


def _margin_words(result: GoalResult) -> str:
    if result.goal.type.startswith("percent"):
        return f"{summary_words('', result.margin)} points"
    return summary_words(result.goal.metric, result.margin)


def why_not_judged(reason: WhyNotJudged | None) -> str:
    match reason:
        case NotMeasured(metric):
            return f"{metric} was not measured"
        case ParentNotMeasured(metric):
            return f"its uncompressed parent's {metric} was not measured"
        case ParentIsZero(metric):
            return f"the parent's {metric} is 0"
        case NoParent():
            return "a baseline has no parent to be compared with"
        case NotQuiet():
            control = control_words(reason)
            return f"the machine was not quiet: the control (the parent's latency over itself) was {control}, not 1"
        case NothingMeasured() | None:
            return "no trial of it ran to its end"


def control_words(found: NotQuiet) -> str:
    """`0.63 (0.61 to 0.65) at batch 64, measured with 0123456789ab`."""
    low, high = found.control.low, found.control.high
    interval = f" ({number(low)} to {number(high)})" if low is not None and high is not None else ""
    return f"{number(found.control.value)}{interval} at batch {found.batch}, measured with {found.trial}"


def ending_words(table: SweepTable, row: Row) -> str | None:
    """Why a trial ended with its status: the reason in its result, or the goals that it misses."""
    if row.status != Status.GOAL_MISSED:
        return row.result.reason if row.result is not None else None
    missed = goals_missed(table, row)
    return "; ".join(result_words(result, table.plan.direction(result.goal.metric)) for result in missed)
