"""The sentences that say why the runner-up is only second: one `match` over the loss."""

from __future__ import annotations

from orchestrator.analysis.reasons import LostSeeds
from orchestrator.analysis.runner_up import (
    LargerModel,
    LatencyNotMeasured,
    LostTie,
    MoreTraining,
    OffFront,
    OutsideGoals,
    RunnerUp,
    SlowerModel,
    SlowerTraining,
    WorseObjective,
)
from orchestrator.analysis.selection_rule import Tie
from orchestrator.analysis.table import SweepTable
from orchestrator.wording.format import quantity, summary_words
from orchestrator.wording.goals import result_words
from orchestrator.wording.reasons import PERCENT_SAME, difference_words, latency_words, lost_words
from orchestrator.wording.training import effort_words


def why_not(table: SweepTable, second: RunnerUp) -> str:
    """The step at which the rule dropped the runner-up, with both figures: a sentence without its full stop."""
    metric = table.plan.objective.metric
    match second.loss:
        case WorseObjective(own, difference):
            return (
                f"its {metric} is {summary_words(metric, own)}; against the best: "
                f"{difference_words(metric, difference)}"
            )
        case LatencyNotMeasured(latencies):
            return f"its {latency_words(latencies)}"
        case SlowerModel(latencies, is_certain):
            doubt = "" if is_certain else ", though the timing has no interval"
            return f"it is slower: {latency_words(latencies)}{doubt}"
        case LargerModel(own, chosen):
            sizes = (summary_words("artifact_bytes", size) for size in (own, chosen))
            return f"it is larger: {' against '.join(sizes)}"
        case MoreTraining(own, chosen):
            return f"its training needs more: {effort_words(table, own)}, against {effort_words(table, chosen)}"
        case SlowerTraining(own, chosen):
            seconds = _against("train_seconds", own, chosen)
            return f"its training is slower beyond the spread of the timed runs: about {seconds}"
        case LostTie():
            return f"equal in every step; {_tie_loss(metric, second.loss)}"
        case OffFront():
            return (
                f"within {PERCENT_SAME} in latency and size, but another configuration is at least as good in every "
                "figure and better in one"
            )
        case OutsideGoals(missed):
            return "; ".join(result_words(r, table.plan.direction(r.goal.metric)) for r in missed)
        case LostSeeds():
            return lost_words(second.loss)


def _tie_loss(metric: str, loss: LostTie) -> str:
    """The figure that decided the tie against the runner-up, with both values."""
    own, chosen = loss.own, loss.chosen
    same = f"its mean {metric} is the same"
    match loss.by:
        case Tie.MEAN:
            return f"its mean {metric} is {_against(metric, own.mean, chosen.mean)}"
        case Tie.SPEED:
            return f"{same}, and its latency relative to its parent is {_against('', own.speed, chosen.speed)}"
        case Tie.EXAMPLES | Tie.STEPS:
            took = (None if e is None else getattr(e, loss.by) for e in (own.effort, chosen.effort))
            return f"{same}, and its training took {_against('', *took)} {loss.by}"
        case Tie.SIZE:
            return f"{same}, and it has {_against('artifact_bytes', own.artifact_bytes, chosen.artifact_bytes)}"
        case Tie.BATCH_SIZE:
            return f"{same}, and its batch size is {own.batch_size} against {chosen.batch_size}"
        case Tie.KEY:
            return "every figure is the same, so which of the two comes first is arbitrary"


def _against(metric: str, one: float | None, other: float | None) -> str:
    """`0.971 against 0.972`: with enough digits to show the difference."""

    def told(digits: int) -> list[str]:
        return ["-" if value is None else quantity(metric, value, digits) for value in (one, other)]

    return " against ".join(told(next((digits for digits in (3, 6) if len(set(told(digits))) > 1), 10)))
