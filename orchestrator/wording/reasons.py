"""The sentences of a recommendation. Every one carries the figures it rests on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.analysis.effort import SAME
from orchestrator.analysis.format import (
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
from orchestrator.analysis.fronts import seconds_to_target
from orchestrator.analysis.goals import GoalResult, GoalVerdict, result_words
from orchestrator.analysis.latencies import latency_batches, latency_ratio
from orchestrator.analysis.selection_rule import Choice, Step, Tie
from orchestrator.analysis.statistics import ROUNDING, Basis, Difference, Summary
from orchestrator.analysis.table import WAITING, Configuration, Row, SweepTable
from orchestrator.sweep.labels import settings_words
from orchestrator.wording.training import cost_words, effort_words

PERCENT_SAME = f"{100 * (SAME - 1):.0f} %"
ASIDE_TOLD = 3  # of those set aside


def label(table: SweepTable, configuration: Configuration) -> str:
    """A configuration in a few words: `batch 32, rate 0.025, int8`."""
    training = configuration.training
    words = [f"batch {training.batch_size}", f"rate {training.learning_rate:.4g}"]
    if table.settings:
        words.append(settings_words(configuration.config, table.settings))
    return ", ".join([*words, configuration.compression] if configuration.compression else words)


def basis_words(summary: Summary) -> str:
    """What the interval of a figure is over."""
    match summary.basis:
        case Basis.SEEDS:
            return f"mean and 95 % interval over {summary.n} seeds"
        case Basis.WITHIN:
            return "one seed; 95 % interval over its validation rows"
        case Basis.NONE:
            return "one seed, no interval" if summary.n == 1 else f"mean over {summary.n} seeds"


# -- nothing to recommend ---------------------------------------------------------------------------------------------


def nothing(table: SweepTable) -> str:
    statuses = Counter(row.status for row in table.rows)
    if not statuses:
        return "The sweep has no trials."
    counts = enumeration([f"{count} {status.replace('_', ' ')}" for status, count in statuses.most_common()])
    if set(statuses) == {WAITING}:
        return "No trial has ended yet."
    return f"No trial with a {table.plan.objective.metric} ran to its end: {counts}."


def no_candidate_meets(
    table: SweepTable, nearest: Configuration, row: Row, judged: Mapping[str, Sequence[GoalResult]]
) -> tuple[str, ...]:
    results, candidates = judged[nearest.key], len(judged)
    if all(any(r.verdict is GoalVerdict.MISSED for r in each) for each in judged.values()):
        alone, none = "does not meet", "meets"
    else:
        alone, none = "cannot be said to meet", "can be said to meet"
    every = f"The only configuration {alone}" if candidates == 1 else f"None of {candidates} configurations {none}"
    return (
        f"{every} every goal, so nothing is recommended.",
        f"Nearest: {row.id} ({label(table, nearest)}).",
        *(f"{result_words(result, table.plan.direction(result.goal.metric))}." for result in results),
    )


# -- the reasons ------------------------------------------------------------------------------------------------------


def goals_met(table: SweepTable, results: Sequence[GoalResult], within: int, candidates: int) -> list[str]:
    if not results:
        return [f"No goal limits the choice among {plural(candidates, 'configuration')}."]
    every = {1: "the goal", 2: "both goals"}.get(len(results), f"all {len(results)} goals")
    sentences = [f"{result_words(r, table.plan.direction(r.goal.metric))}." for r in results]
    head = f"{within} of {candidates} configurations are within {every}; this is one of them."
    if within == 1:
        head = f"It is the only one of {candidates} within {every}."
    if candidates == 1:
        head = f"It is the only configuration, and is within {every}."
    return [head, *sentences]


def set_aside(table: SweepTable, meeting: Sequence[Configuration], within: Sequence[Configuration]) -> list[str]:
    """What would have been within the goals, but for the seeds that it lost."""
    aside = [c for c in meeting if c not in within]
    if not aside:
        return []
    told = "; ".join(f"{label(table, c)}: {lost_words(table, c)}" for c in aside[:ASIDE_TOLD])
    more = f"; and {len(aside) - ASIDE_TOLD} more" if len(aside) > ASIDE_TOLD else ""
    return [f"Set aside for the seeds that they lost, as a mean over the others flatters: {told}{more}."]


def lost_words(table: SweepTable, configuration: Configuration) -> str:
    """`1 of its 3 seeds ended as diverged`, of a configuration that lost some; of a variant, its parent's too."""
    parent = table.parent_of(configuration)
    lost = configuration.lost if parent is configuration else (*parent.broken, *configuration.lost)
    told = enumeration([status.replace("_", " ") for status in dict.fromkeys(row.status for row in lost)])
    return f"{len(lost)} of its {plural(len(parent.rows), 'seed')} ended as {told}"


def as_fast(table: SweepTable, within: Sequence[Configuration]) -> list[str]:
    """Where the batch size was to be found, the choice is among those that are as fast to the target."""
    if len(within) < 2:
        return []
    sizes = enumeration([str(size) for size in sorted({c.training.batch_size for c in within})])
    return [f"Chosen among batch sizes {sizes}, which are as fast to the target as can be told."]


def steps(table: SweepTable, choice: Choice, by_key: Mapping[str, Configuration]) -> list[str]:
    """The steps of the rule that narrowed the choice, in order."""
    chosen, before = by_key[choice.chosen.key], len(by_key)
    sentences = [_objective_step(table, choice, by_key)]
    for step, left in choice.kept.items():
        if step is not Step.OBJECTIVE and left < before:
            sentences.append(_narrowed(table, step, choice, chosen, before, left))
        before = left
    return sentences


def _objective_step(table: SweepTable, choice: Choice, by_key: Mapping[str, Configuration]) -> str:
    metric = table.plan.objective.metric
    chosen, leader = by_key[choice.chosen.key], by_key[choice.leader.key]
    own, best = chosen.summary(metric), leader.summary(metric)
    equal = choice.kept[Step.OBJECTIVE] - 1
    of_these = f" of these {len(by_key)}" if _better_elsewhere(table, choice, by_key) else ""
    if chosen is leader or math.isclose(choice.chosen.mean, choice.leader.mean, rel_tol=ROUNDING):
        which = "" if of_these and len(by_key) == 1 else f" the best{of_these}:"
        text = f"Its {metric} is{which} {summary_words(metric, own)} ({basis_words(own)})" if own else ""
        return f"{text}; {equal} more {'counts' if equal == 1 else 'count'} as equal to it." if equal else f"{text}."
    allowed = "the goal allows" if choice.margin_is_goal else "the validation rows can tell apart"
    return (
        f"Its {metric} is {summary_words(metric, own)}. The best{of_these} is {summary_words(metric, best)} "
        f"({label(table, leader)}), which counts as equal: {difference_words(metric, choice.differences[chosen.key])}, "
        f"and within the {quantity(metric, choice.margin, 2)} that {allowed}."
    )


def _better_elsewhere(table: SweepTable, choice: Choice, by_key: Mapping[str, Configuration]) -> bool:
    """Whether the table shows a better objective than those that could be chosen have."""
    objective, sign = table.plan.objective, 1.0 if table.plan.objective.mode == "max" else -1.0
    shown = table.variants if by_key[choice.chosen.key].kind == "variant" else table.baselines
    others = [c.summary(objective.metric) for c in shown if c is not by_key.get(c.key)]
    means = [sign * summary.mean for summary in others if summary is not None]
    best = sign * choice.leader.mean
    return any(mean - best > ROUNDING * abs(best) for mean in means)


def difference_words(metric: str, difference: Difference | None) -> str:
    """A paired difference and its verdict: `no detectable difference (-0.002 ± 0.011, ..., after Holm p = 0.36)`.

    The verdict is corrected for the number of comparisons and the interval is not, so each may say another thing.
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


def _narrowed(table: SweepTable, step: Step, choice: Choice, chosen: Configuration, before: int, left: int) -> str:
    figures = choice.chosen
    company = "" if left == 1 else f" (with {left - 1} more within {PERCENT_SAME} of it)"
    match step:
        case Step.LATENCY if not _is_fastest(choice):
            return (
                f"Of these {before}, {left} are as fast, within {PERCENT_SAME} or the intervals of their timing; "
                f"it is one of them: {latency_words(chosen)}."
            )
        case Step.LATENCY:
            return f"Of these {before} it is the fastest{company}: {latency_words(chosen)}."
        case Step.SIZE:
            size = figures.artifact_bytes or 0.0
            return f"Of these {before} it is the smallest{company}: {quantity('artifact_bytes', size)}."
        case Step.WORK:
            who = "it alone is" if left == 1 else f"{left} are"
            return (
                f"Of these {before}, {who} not beaten in steps and examples of training: it takes "
                f"{effort_words(table, figures.effort)}."
            )
        case Step.SECONDS:
            seconds = cost_words(table, figures.effort.seconds if figures.effort else None)
            return (
                f"Of these {before}, {left} {'is' if left == 1 else 'are'} kept by seconds of training: it takes about "
                f"{seconds}, the others half as many again at least, by the 95 % interval over all timed runs."
            )
        case Step.FRONT:
            who = "it alone is" if left == 1 else f"{left} are"
            return f"Of these {before}, {who} on the Pareto front."
        case _:
            return f"Between the last {before}{_tie_words(table.plan.objective.metric, choice)}."


def _is_fastest(choice: Choice) -> bool:
    """Whether all that were kept for their speed are within 5 % of the fastest, and not by their intervals."""
    gone = (Step.OBJECTIVE, Step.LATENCY)
    speeds = [c.speed for key, c in choice.candidates.items() if choice.dropped.get(key) not in gone and c.speed]
    return max(speeds) <= SAME * min(speeds)


def _tie_words(metric: str, choice: Choice) -> str:
    """` the better mean val_accuracy decides, then the cheaper training`."""
    words = {
        Tie.MEAN: f"the better mean {metric}",
        Tie.SIZE: "the smaller file",
        Tie.EXAMPLES: "the fewer examples of training",
        Tie.STEPS: "the fewer steps of training",
        Tie.BATCH_SIZE: "the smaller batch size",
        Tie.SPEED: "the lower latency",
        Tie.KEY: "an arbitrary order (every figure is the same)",
    }
    decided = set(choice.settled.values())
    first, *then = [word for tie, word in words.items() if tie in decided]
    alike = "" if Tie.MEAN in decided else f", with the same mean {metric},"
    return f"{alike} {first} decides{''.join(f', then {word}' for word in then)}"


def latency_words(configuration: Configuration) -> str:
    """`latency 0.31 at batch 1 and 0.20 at batch 64 of its parent's, compiled`."""
    parts = [
        f"{summary_words('', summary)} at batch {batch}"
        for batch in latency_batches([configuration])
        if (summary := latency_ratio(configuration, batch)) is not None
    ]
    return f"latency {enumeration(parts)} of its parent's, compiled" if parts else "latency was not measured"


def better_trained(table: SweepTable, best: Configuration, parent: Configuration) -> str:
    """Of a training that the rule prefers to the parent of what is recommended, and that was not compressed."""
    metric = table.plan.objective.metric
    figures = [
        f"{summary_words(metric, c.summary(metric))}, {cost_words(table, seconds_to_target(table, c))}"
        for c in (best, parent)
    ]
    return (
        f"Of the trainings alone the same rule would choose {label(table, best)} ({metric} {figures[0]}; what is "
        f"recommended was trained as {label(table, parent)}: {figures[1]}); it was not compressed."
    )
