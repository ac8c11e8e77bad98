"""The sentences that explain a recommendation, one `match` over its reasons. Every sentence carries its figures."""

from __future__ import annotations

from orchestrator.analysis.effort import SAME
from orchestrator.analysis.reasons import (
    AmongFastest,
    AsGoodAsBest,
    BestObjective,
    BestSeed,
    Faster,
    FasterTraining,
    FewestSteps,
    Latencies,
    LostSeeds,
    NoneMeasured,
    NoneWithinGoals,
    NothingEnded,
    NoTrials,
    OnFront,
    Reason,
    SetAside,
    Smaller,
    TieBroken,
    TimesToTarget,
    TrainWith,
    WithinGoals,
)
from orchestrator.analysis.rows import Configuration
from orchestrator.analysis.selection_rule import Tie
from orchestrator.analysis.statistics import Basis, Difference, Summary
from orchestrator.analysis.table import SweepTable
from orchestrator.sweep.labels import settings_words
from orchestrator.wording.format import (
    enumeration,
    one_seed_words,
    paired_words,
    plural,
    quantity,
    signed,
    summary_words,
    unit_of,
    with_interval,
)
from orchestrator.wording.goals import result_words
from orchestrator.wording.sentence import Sentence
from orchestrator.wording.training import cost_words, effort_words, seed_words, times_words, train_words

PERCENT_SAME = f"{100 * (SAME - 1):.0f} %"
ASIDE_TOLD = 3  # configurations named among those set aside


def label(table: SweepTable, configuration: Configuration) -> str:
    """A configuration in a few words: `batch 32, rate 0.025, int8`."""
    training = configuration.training
    words = [f"batch {training.batch_size}", f"rate {training.learning_rate:.4g}"]
    if table.settings:
        words.append(settings_words(configuration.config, table.settings))
    return ", ".join([*words, configuration.compression] if configuration.compression else words)


def reason_sentences(table: SweepTable, reason: Reason) -> list[Sentence]:
    """The sentence of one reason, and one more sentence for each goal that the reason is about."""
    match reason:
        case NoTrials():
            return [Sentence("The sweep has no trials.")]
        case NothingEnded():
            return [Sentence("No trial has ended yet.")]
        case NoneMeasured(statuses):
            counts = enumeration([f"{count} {status.replace('_', ' ')}" for status, count in statuses])
            return [Sentence(f"No trial with a {table.plan.objective.metric} ran to its end: {counts}.")]
        case NoneWithinGoals():
            return _none_within_goals(table, reason)
        case WithinGoals():
            return _within_goals(table, reason)
        case _:
            return [_sentence(table, reason)]


def _sentence(table: SweepTable, reason: Reason) -> Sentence:
    metric = table.plan.objective.metric
    match reason:
        case SetAside():
            return _set_aside(table, reason)
        case AmongFastest(sizes):
            told = enumeration([str(size) for size in sizes])
            return Sentence(f"Chosen among batch sizes {told}, all statistically tied as the fastest to the target.")
        case BestObjective(own, equal, of, is_best_of_all):
            of_these = "" if is_best_of_all else f" of these {of}"
            which = "" if of_these and of == 1 else f" the best{of_these}:"
            more = f"; {equal} more {'is' if equal == 1 else 'are'} statistically tied with it" if equal else ""
            return Sentence(f"Its {metric} is{which} {summary_words(metric, own)}{more}.", basis_words(own))
        case AsGoodAsBest():
            return _as_good_as_best(table, reason)
        case Faster(of, left, latencies, within_percent):
            took = latency_words(latencies)
            if within_percent:
                return Sentence(f"Of these {of} it is the fastest{_company(left)}: {took}.")
            how = f"Equally fast means within {PERCENT_SAME}, or with overlapping intervals of the timings."
            return Sentence(f"Of these {of} it is one of the {left} fastest: {took}.", how)
        case Smaller(of, left, size):
            return Sentence(f"Of these {of} it is the smallest{_company(left)}: {quantity('artifact_bytes', size)}.")
        case OnFront(of, left):
            return Sentence(f"Of these {of}, {_alone(left)} on the Pareto front.")
        case FewestSteps(of, left, effort):
            beaten = f"Of these {of}, {_alone(left)} not beaten in training steps and examples"
            return Sentence(f"{beaten}; this one takes {effort_words(table, effort)}.")
        case FasterTraining(of, left, seconds):
            slower = "The others take at least 1.5 times as long, by the 95 % interval over all timed runs."
            kept = f"{left} {'trains' if left == 1 else 'train'} faster"
            return Sentence(f"Of these {of}, {kept}; this one takes about {cost_words(table, seconds)}.", slower)
        case TieBroken(of, by):
            return Sentence(f"Between the last {of}{_tie_words(metric, by)}.")
        case TrainWith():
            return Sentence(train_words(reason))
        case TimesToTarget():
            return Sentence(times_words(table, reason), is_detail=True)
        case BestSeed():
            return Sentence(seed_words(metric, reason), "The best of several seeds overestimates the model.")
        case _:
            raise TypeError(f"a reason of several sentences: {reason}")


def _alone(left: int) -> str:
    return "it alone is" if left == 1 else f"{left} are"


def _company(left: int) -> str:
    return "" if left == 1 else f" ({left - 1} more {'is' if left == 2 else 'are'} within {PERCENT_SAME} of it)"


def _set_aside(table: SweepTable, reason: SetAside) -> Sentence:
    found = reason.configurations
    told = "; ".join(f"{label(table, c.configuration)}: {lost_words(c)}" for c in found[:ASIDE_TOLD])
    more = f"; and {len(found) - ASIDE_TOLD} more" if len(found) > ASIDE_TOLD else ""
    are = "configuration is" if len(found) == 1 else "configurations are"
    aside = f"{len(found)} {are} set aside: seeds failed there that did not fail elsewhere."
    return Sentence(aside, f"A mean over the remaining seeds would be too good: {told}{more}.")


def _none_within_goals(table: SweepTable, reason: NoneWithinGoals) -> list[Sentence]:
    alone, none = ("does not meet", "meets") if reason.all_miss else ("cannot be said to meet", "can be said to meet")
    one = reason.candidates == 1
    every = f"The only configuration {alone}" if one else f"None of {reason.candidates} configurations {none}"
    return [
        Sentence(f"{every} every goal, so nothing is recommended."),
        Sentence(f"Nearest: {reason.row.id} ({label(table, reason.nearest)})."),
        *(Sentence(f"{result_words(result, table.plan.direction(result.goal.metric))}.") for result in reason.results),
    ]


def _within_goals(table: SweepTable, reason: WithinGoals) -> list[Sentence]:
    if not reason.results:
        return [Sentence(f"No goal limits the choice among {plural(reason.candidates, 'configuration')}.")]
    every = {1: "the goal", 2: "both goals"}.get(len(reason.results), f"all {len(reason.results)} goals")
    results = [result_words(result, table.plan.direction(result.goal.metric)) for result in reason.results]
    head = f"{reason.within} of {reason.candidates} configurations are within {every}; this is one of them."
    if reason.within == 1:
        head = f"It is the only one of {reason.candidates} within {every}."
    if reason.candidates == 1:
        head = f"It is the only configuration, and is within {every}."
    return [Sentence(head), *(Sentence(f"{result}.", is_detail=True) for result in results)]


def lost_words(found: LostSeeds) -> str:
    """`1 of its 3 seeds ended as diverged`."""
    told = enumeration([status.replace("_", " ") for status in found.statuses])
    return f"{found.lost} of its {plural(found.seeds, 'seed')} ended as {told}"


def _as_good_as_best(table: SweepTable, reason: AsGoodAsBest) -> Sentence:
    metric = table.plan.objective.metric
    own, best = summary_words(metric, reason.own), summary_words(metric, reason.best)
    of_these = "" if reason.is_best_of_all else f" of these {reason.of}"
    allowed = "as the goal allows" if reason.margin_is_goal else "the resolution of the validation rows"
    return Sentence(
        f"Its {metric}, {own}, is statistically tied with the best{of_these}, {best}.",
        f"The best is {label(table, reason.leader)}: {difference_words(metric, reason.difference)}. "
        f"The means differ by at most {quantity(metric, reason.margin, 2)}, {allowed}.",
    )


def basis_words(summary: Summary) -> str:
    """What the interval of a figure covers: seeds, or validation rows."""
    match summary.basis:
        case Basis.SEEDS:
            return f"Mean and 95 % interval over {summary.n} seeds."
        case Basis.WITHIN:
            return "One seed; 95 % interval over its validation rows."
        case Basis.NONE:
            return "One seed, no interval." if summary.n == 1 else f"Mean over {summary.n} seeds."


def difference_words(metric: str, difference: Difference | None) -> str:
    """A paired difference and its verdict: `no detectable difference (-0.002 ± 0.011, ..., after Holm p = 0.36)`.

    The verdict is corrected for the number of comparisons and the interval is not, so the two may disagree.
    """
    if difference is None:
        return "not determined (no seed in common)"
    if difference.p_value is None:
        return f"a difference of {signed(metric, difference.mean)}, {one_seed_words(difference)}"
    if difference.low is None or difference.high is None:
        alike = not difference.deviation
        text = f"{signed(metric, difference.mean)} {'with each of' if alike else 'over'} {difference.pairs} seeds"
    else:
        divisor, unit = unit_of(metric)
        text = with_interval(difference.mean, (difference.high - difference.low) / 2, divisor)
        text = f"{f'{text} {unit}'.rstrip()}, {paired_words(difference)}"
    return f"{difference.verdict} ({text}, after Holm p = {difference.p_value:.2g})"


def _tie_words(metric: str, decided: tuple[Tie, ...]) -> str:
    """` the better mean val_accuracy decides, then the cheaper training`."""
    words = {
        Tie.MEAN: f"the better mean {metric}",
        Tie.SIZE: "the smaller file",
        Tie.EXAMPLES: "fewer training examples",
        Tie.STEPS: "fewer training steps",
        Tie.BATCH_SIZE: "the smaller batch size",
        Tie.SPEED: "the lower latency",
        Tie.KEY: "an arbitrary order (every figure is the same)",
    }
    first, *then = [words[tie] for tie in decided]
    alike = "" if Tie.MEAN in decided else f", with the same mean {metric},"
    return f"{alike} {first} decides{''.join(f', then {word}' for word in then)}"


def latency_words(latencies: Latencies) -> str:
    """`latency 0.31 at batch 1 and 0.20 at batch 64, relative to its parent (both compiled)`."""
    parts = [f"{summary_words('', summary)} at batch {batch}" for batch, summary in latencies.items()]
    if not parts:
        return "latency was not measured"
    return f"latency {enumeration(parts)}, relative to its parent (both compiled)"
