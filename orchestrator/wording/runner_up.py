"""Why the runner-up is only second: the step at which the rule let go of it, or the goals that it misses."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.analysis.format import quantity, summary_words
from orchestrator.analysis.goals import GoalResult, GoalVerdict, result_words
from orchestrator.analysis.selection_rule import Choice, Step, Tie
from orchestrator.analysis.table import Configuration, SweepTable
from orchestrator.wording.reasons import difference_words, latency_words
from orchestrator.wording.training import effort_words


def why_not(table: SweepTable, choice: Choice, chosen: Configuration, second: Configuration) -> str:
    """The step at which the rule let go of the runner-up, with the two figures."""
    metric = table.plan.objective.metric
    match choice.dropped[second.key]:
        case Step.OBJECTIVE:
            return (
                f"its {metric} is {summary_words(metric, second.summary(metric))}; "
                f"against the best: {difference_words(metric, choice.differences[second.key])}"
            )
        case Step.LATENCY:
            if choice.candidates[second.key].speed is None:
                return f"its {latency_words(second)}"
            known = all(choice.candidates[c.key].speed_interval for c in (second, chosen))
            doubt = "" if known else ", though how exact the timing was is not known"
            return f"it is slower: {latency_words(second)}{doubt}"
        case Step.SIZE:
            return (
                f"it is larger: {summary_words('artifact_bytes', second.summary('artifact_bytes'))} "
                f"against {summary_words('artifact_bytes', chosen.summary('artifact_bytes'))}"
            )
        case Step.WORK:
            efforts = (effort_words(table, choice.candidates[c.key].effort) for c in (second, chosen))
            return f"its training needs more: {', against '.join(efforts)}"
        case Step.SECONDS:
            took = [effort.seconds for c in (second, chosen) if (effort := choice.candidates[c.key].effort)]
            return (
                f"its training is slower beyond the spread of the timed runs: about {_against('train_seconds', *took)}"
            )
        case Step.TIE:
            return f"equal in every step; {_tie_loss(metric, choice, second.key)}"
        case Step.FRONT:
            return "as fast and as small within 5 %, but another is as good in everything and better in one"


def _tie_loss(metric: str, choice: Choice, second: str) -> str:
    """What decided at last against the runner-up, with the two figures."""
    other, chosen, decided = choice.candidates[second], choice.chosen, choice.settled[second]
    same = f"its mean {metric} is the same"
    match decided:
        case Tie.MEAN:
            return f"its mean {metric} is {_against(metric, other.mean, chosen.mean)}"
        case Tie.SPEED:
            return f"{same}, and its latency is {_against('', other.speed, chosen.speed)} of its parent's"
        case Tie.EXAMPLES | Tie.STEPS:
            took = (None if e is None else getattr(e, decided) for e in (other.effort, chosen.effort))
            return f"{same}, and its training took {_against('', *took)} {decided}"
        case Tie.SIZE:
            return f"{same}, and it has {_against('artifact_bytes', other.artifact_bytes, chosen.artifact_bytes)}"
        case Tie.BATCH_SIZE:
            return f"{same}, and its batch size is {other.batch_size} against {chosen.batch_size}"
        case Tie.KEY:
            return "every figure is the same, so which of the two comes first is arbitrary"


def _against(metric: str, one: float | None, other: float | None) -> str:
    """`0.971 against 0.972`: with as many digits as it takes to tell them apart."""

    def told(digits: int) -> list[str]:
        return ["-" if value is None else quantity(metric, value, digits) for value in (one, other)]

    return " against ".join(told(next((digits for digits in (3, 6) if len(set(told(digits))) > 1), 10)))


def misses(table: SweepTable, results: Sequence[GoalResult]) -> str:
    """Why a configuration outside the goals is only second."""
    missed = [r for r in results if r.verdict is not GoalVerdict.MET]
    return "; ".join(result_words(r, table.plan.direction(r.goal.metric)) for r in missed)
