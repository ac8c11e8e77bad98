"""The sentences of a recommendation. Every one carries the figures it rests on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.analysis.choose import SAME, Candidate, Choice, Step
from orchestrator.analysis.fronts import seconds_to_target
from orchestrator.analysis.goals import GoalResult, GoalVerdict, result_words
from orchestrator.analysis.latencies import latency_batches, latency_ratio
from orchestrator.analysis.statistics import ROUNDING, Basis, Difference, Summary, Verdict
from orchestrator.analysis.table import WAITING, Configuration, Row, SweepTable
from orchestrator.analysis.tuning import Tuned, to_target, tuned
from orchestrator.analysis.words import (
    listing,
    plural,
    quantity,
    settings_words,
    signed,
    summary_words,
    target_words,
    unit_of,
    with_interval,
)

PERCENT_SAME = f"{100 * (SAME - 1):.0f} %"
MOST_TOLD, FASTEST_TOLD = 6, 3  # with more settings than that only the fastest are told: the table has them all


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
    counts = listing([f"{count} {status.replace('_', ' ')}" for status, count in statuses.most_common()])
    if set(statuses) == {WAITING}:
        return "No trial has ended yet."
    return f"No trial with a {table.plan.objective.metric} ran to its end: {counts}."


def no_candidate_meets(
    table: SweepTable, nearest: Configuration, row: Row, results: Sequence[GoalResult], candidates: int
) -> tuple[str, ...]:
    every = "The only configuration does not meet" if candidates == 1 else f"None of {candidates} configurations meets"
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
    return [f"{within} of {candidates} configurations are within {every}; this is one of them." if within > 1 else
            f"It is the only one of {candidates} within {every}.", *sentences]  # fmt: skip


def set_aside(table: SweepTable, meeting: Sequence[Configuration], within: Sequence[Configuration]) -> list[str]:
    """What would have been within the goals, but for the seeds that it lost."""
    aside = [c for c in meeting if c not in within]
    if not aside:
        return []
    told = "; ".join(f"{label(table, c)}: {lost_words(table, c)}" for c in aside[:FASTEST_TOLD])
    more = f"; and {len(aside) - FASTEST_TOLD} more" if len(aside) > FASTEST_TOLD else ""
    return [f"Set aside for the seeds that they lost, as a mean over the others flatters: {told}{more}."]


def lost_words(table: SweepTable, configuration: Configuration) -> str:
    """`1 of its 3 seeds ended as diverged`, of a configuration that lost some; of a variant, its parent's too."""
    parent = table.parent_of(configuration)
    lost = configuration.lost if parent is configuration else (*parent.broken, *configuration.lost)
    told = listing([status.replace("_", " ") for status in dict.fromkeys(row.status for row in lost)])
    return f"{len(lost)} of its {plural(len(parent.rows), 'seed')} ended as {told}"


def as_fast(table: SweepTable, within: Sequence[Configuration]) -> list[str]:
    """Where the batch size was to be found, the choice is among those that are as fast to the target."""
    if len(within) < 2:
        return []
    sizes = listing([str(size) for size in sorted({c.training.batch_size for c in within})])
    return [f"Chosen among batch sizes {sizes}, which are as fast to the target as can be told."]


def steps(table: SweepTable, choice: Choice, by_key: Mapping[str, Configuration]) -> list[str]:
    """The steps of the rule that narrowed the choice, in order."""
    chosen, before = by_key[choice.chosen.key], len(by_key)
    sentences = [_objective_step(table, choice, by_key)]
    for step, left in choice.kept.items():
        if step is not Step.OBJECTIVE and left < before:
            sentences.append(_narrowed(table, step, chosen, choice.chosen, before, left))
        before = left
    return sentences


def _objective_step(table: SweepTable, choice: Choice, by_key: Mapping[str, Configuration]) -> str:
    metric = table.plan.objective.metric
    chosen, leader = by_key[choice.chosen.key], by_key[choice.leader.key]
    own, best = chosen.summary(metric), leader.summary(metric)
    equal = choice.kept[Step.OBJECTIVE] - 1
    if chosen is leader or math.isclose(choice.chosen.mean, choice.leader.mean, rel_tol=ROUNDING):
        text = f"Its {metric} is the best: {summary_words(metric, own)} ({basis_words(own)})" if own else ""
        return f"{text}; {equal} more count as equal to it." if equal else f"{text}."
    allowed = "the goal allows" if choice.margin_is_goal else "the validation rows can tell apart"
    return (
        f"Its {metric} is {summary_words(metric, own)}. The best is {summary_words(metric, best)} "
        f"({label(table, leader)}), which counts as equal: {difference_words(metric, choice.differences[chosen.key])}, "
        f"and within the {quantity(metric, choice.margin, 2)} that {allowed}."
    )


def difference_words(metric: str, difference: Difference | None) -> str:
    """A paired difference and its verdict, with the interval: `no detectable difference (-0.002 ± 0.011, ...)`."""
    if difference is None:
        return "not determined (no seed in common)"
    if difference.verdict is Verdict.NOT_DETERMINED:
        return f"the difference, {signed(metric, difference.mean)}, is not determined (one seed)"
    if difference.low is None or difference.high is None:
        return f"{difference.verdict} ({signed(metric, difference.mean)} with each of {difference.pairs} seeds)"
    divisor, unit = unit_of(metric)
    text = with_interval(difference.mean, (difference.high - difference.low) / 2, divisor)
    return f"{difference.verdict} ({text} {unit}".rstrip() + f", paired over {difference.pairs} seeds)"


def _narrowed(table: SweepTable, step: Step, chosen: Configuration, figures: Candidate, before: int, left: int) -> str:
    company = "" if left == 1 else f" (with {left - 1} more within {PERCENT_SAME} of it)"
    match step:
        case Step.LATENCY:
            return f"Of these {before} it is the fastest{company}: {latency_words(chosen)}."
        case Step.SIZE:
            size = figures.artifact_bytes or 0.0
            return f"Of these {before} it is the smallest{company}: {quantity('artifact_bytes', size)}."
        case Step.COST:
            return (
                f"Of these {before} it is the cheapest to train{company}: {_cost_words(table, figures.cost_seconds)}."
            )
        case Step.FRONT:
            who = "it alone is" if left == 1 else f"{left} are"
            return f"Of these {before}, {who} on the Pareto front."
        case _:
            return f"Between the last {before} the better mean {table.plan.objective.metric} decides."


def _cost_words(table: SweepTable, seconds: float | None) -> str:
    objective = table.plan.objective
    until = "to the end" if objective.target is None else f"to {target_words(objective)}"
    if seconds is None or seconds == math.inf:
        return f"not every seed came {until}" if objective.target is not None else "not measured"
    return f"{quantity('train_seconds', seconds)} {until}"


def latency_words(configuration: Configuration) -> str:
    """`latency 0.31 at batch 1 and 0.20 at batch 64 of its parent's, compiled`."""
    parts = [
        f"{summary_words('', summary)} at batch {batch}"
        for batch in latency_batches([configuration])
        if (summary := latency_ratio(configuration, batch)) is not None
    ]
    return f"latency {listing(parts)} of its parent's, compiled" if parts else "latency was not measured"


def _apart(one: Configuration, other: Configuration) -> bool:
    """Whether the intervals of the latencies of the two are apart, at any of the batch sizes."""
    pairs = [(latency_ratio(one, batch), latency_ratio(other, batch)) for batch in latency_batches([one])]
    return any(_below(a, b) or _below(b, a) for a, b in pairs if a is not None and b is not None)


def _below(one: Summary, other: Summary) -> bool:
    return one.high is not None and other.low is not None and one.high < other.low


def training(table: SweepTable, configuration: Configuration) -> list[str]:
    """The batch-size half of the recommendation: the training settings, and what the other batch sizes took."""
    setting = configuration.training
    source = table.parent_of(configuration).learning_rate_source
    sentences = [
        f"Train at batch size {setting.batch_size} with learning rate {setting.learning_rate:.4g}"
        f"{f' ({source})' if source else ''}, {setting.optimizer.name}, {setting.precision}, "
        f"{plural(setting.num_workers, 'worker')}."
    ]
    objective, envelope = table.plan.objective, tuned(table)
    if objective.target is not None and envelope:
        rate = "at the best rate of each" if any(len(entry.rates) > 1 for entry in envelope) else "at the rate of each"
        told, which = envelope, rate
        if len(envelope) > MOST_TOLD:
            told = sorted(envelope, key=lambda entry: _slowness(table, entry))[:FASTEST_TOLD]
            which = f"the fastest {FASTEST_TOLD} of {len(envelope)} in the table, {rate}"
        times = "; ".join(_time_to_target(table, entry) for entry in told)
        sentences.append(f"To {target_words(objective)}, {which}: {times}.")
    return sentences


def better_trained(table: SweepTable, best: Configuration, parent: Configuration) -> str:
    """Of a training that the rule prefers to the parent of what is recommended, and that was not compressed."""
    metric = table.plan.objective.metric
    figures = [
        f"{summary_words(metric, c.summary(metric))}, {_cost_words(table, seconds_to_target(table, c))}"
        for c in (best, parent)
    ]
    return (
        f"Of the trainings alone the same rule would choose {label(table, best)} ({metric} {figures[0]}; what is "
        f"recommended was trained as {label(table, parent)}: {figures[1]}); it was not compressed."
    )


def _slowness(table: SweepTable, entry: Tuned) -> tuple[float, float]:
    """Lower is better: first that every seed reaches the target, then how soon."""
    outcome = to_target(table, entry.best)
    return (0.0, math.inf) if outcome is None else (-outcome.reached / outcome.seeds, outcome.seconds.mean)


def _time_to_target(table: SweepTable, entry: Tuned) -> str:
    name = f"batch {entry.batch_size} {settings_words(entry.best.config, table.settings)}".rstrip()
    outcome = to_target(table, entry.best)
    if outcome is None:
        return f"{name}: not reached"
    some = "" if outcome.reached == outcome.seeds else f" (only {outcome.reached} of {outcome.seeds} seeds)"
    seconds, most = quantity("train_seconds", outcome.seconds.mean), "at most " if outcome.is_bound else ""
    return f"{name}: {most}{outcome.steps.mean:,.0f} steps, {outcome.examples.mean:,.0f} examples, {seconds}{some}"


def seed_choice(table: SweepTable, configuration: Configuration, row: Row) -> list[str]:
    metric = table.plan.objective.metric
    if len(configuration.measured) < 2:
        return []
    return [
        f"Of its {len(configuration.measured)} seeds, {row.id} (seed {row.seed}) has the best {metric}, "
        f"{quantity(metric, row.value(metric) or 0.0)}; chosen for being the best, it flatters itself: expect the mean."
    ]


# -- the runner-up ----------------------------------------------------------------------------------------------------


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
            doubt = "" if _apart(second, chosen) else ", though within the noise of the timing"
            return f"it is slower: {latency_words(second)}{doubt}"
        case Step.SIZE:
            return (
                f"it is larger: {summary_words('artifact_bytes', second.summary('artifact_bytes'))} "
                f"against {summary_words('artifact_bytes', chosen.summary('artifact_bytes'))}"
            )
        case Step.COST:
            cost = choice.candidates[second.key].cost_seconds
            own = _cost_words(table, choice.candidates[chosen.key].cost_seconds)
            more = f"{quantity('train_seconds', cost)} against " if cost is not None and cost < math.inf else ""
            return f"its training costs more: {more or 'not every seed reached the target, against '}{own}"
        case Step.TIE:
            means = [quantity(metric, s.mean) if (s := c.summary(metric)) else "-" for c in (second, chosen)]
            if means[0] == means[1]:
                return f"equal in every step, and its mean {metric} is {means[0]} too; a hair decided"
            return f"equal in every step; its mean {metric} is {means[0]} against {means[1]}"
        case Step.FRONT if second.kind == "baseline":
            costs = [_cost_words(table, choice.candidates[c.key].cost_seconds) for c in (second, chosen)]
            return f"another has as good a {metric} for less training: it took {costs[0]}, the recommended {costs[1]}"
        case Step.FRONT:
            return "as fast and as small within 5 %, but another is as good in everything and better in one"


def misses(table: SweepTable, results: Sequence[GoalResult]) -> str:
    """Why a configuration outside the goals is only second."""
    missed = [r for r in results if r.verdict is not GoalVerdict.MET]
    return "; ".join(result_words(r, table.plan.direction(r.goal.metric)) for r in missed)
