"""What to doubt about a recommendation: noise, few seeds, the edge of a grid, what is not in yet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.analysis.format import enumeration, plural, quantity
from orchestrator.analysis.goals import goal_words
from orchestrator.analysis.hardware import machine
from orchestrator.analysis.latencies import disturbed, not_quiet
from orchestrator.analysis.sharing import sharing
from orchestrator.analysis.statistics import SAME_SIGN, Verdict, paired_difference, pairs_needed
from orchestrator.analysis.table import WAITING, Configuration, Row, SweepTable
from orchestrator.analysis.tuned_rates import tuned
from orchestrator.sweep.spec import Goal

MOST_TOLD = 4  # trials by their ids


def progress(table: SweepTable) -> tuple[str, ...]:
    """What is not in yet."""
    waiting = sum(row.status == WAITING for row in table.rows) - len(table.damaged)
    sentences = []
    if waiting:
        sentences.append(f"{waiting} of {plural(len(table.rows), 'trial')} have not ended: this may change.")
    again = "until `paretune run` has made it anew, its trial counts as not ended"
    sentences += [f"{damage}; {again}." for damage in table.damaged[:MOST_TOLD]]
    if (more := len(table.damaged) - MOST_TOLD) > 0:
        sentences.append(f"So {'is' if more == 1 else 'are'} {plural(more, 'other file')}.")
    return tuple(sentences)


def without_figure(table: SweepTable) -> list[str]:
    """What ran to its end and takes no part, because the figure it is judged by is no finite number."""
    metric = table.plan.objective.metric
    rows = [row for c in (table.variants or table.baselines) for row in c.measured]
    lacking = [row.id for row in rows if (value := row.value(metric)) is not None and not math.isfinite(value)]
    if not lacking:
        return []
    shown = enumeration(lacking[:MOST_TOLD]) + (f" and {len(lacking) - MOST_TOLD} more" * (len(lacking) > MOST_TOLD))
    return [f"{shown} ended with a {metric} that is no finite number: a configuration with such a seed takes no part."]


def noisy_machine(table: SweepTable) -> list[str]:
    """What the control of the latencies says, where it says that they mean nothing."""
    found = not_quiet(table)
    if not found:
        return []
    trials = len({one.trial for one in found})
    asked = any(disturbed(row, goal.metric) for goal in table.plan.goals for c in table.variants for row in c.measured)
    goals = "; a goal on them is not determined for what was measured there" if asked else ""
    return [
        f"Latencies are not usable, and the choice does not use them: beside {plural(trials, 'variant')} the parent "
        f"timed against itself was not 1, at worst {found[0]}{goals}. The machine was not quiet; measure where nothing "
        "else runs."
    ]


def shared_machine(table: SweepTable) -> list[str]:
    """That seconds and throughput are of trials that ran side by side."""
    found = sharing(table)
    if found is None:
        return []
    many = f"{len(found.trainings)} of {plural(found.of, 'training')}"
    return [
        f"{many} ran while other trials of this sweep ran on the same machine, up to {found.at_once} at a time: their "
        "seconds and examples/s are not those of a quiet machine."
    ]


def doubts(table: SweepTable, chosen: Configuration, row: Row, not_asked: Sequence[Goal]) -> list[str]:
    sentences = []
    for goal in not_asked:
        asked = goal_words(goal, table.plan.direction(goal.metric))
        why = "no variant ran to its end" if table.variants else "nothing was compressed"
        sentences.append(f"The goal {asked!r} was not asked: {why}, so there is no parent to compare with.")
    parent = table.parent_of(chosen)
    broken = (*parent.broken, *(chosen.broken if chosen is not parent else ()))
    sentences.extend(f"Another seed of it, {r.id} (seed {r.seed}), ended as {r.status}." for r in broken)
    if stopped := len(parent.lost) - len(parent.broken):
        seeds, verb = plural(len(parent.rows), "seed"), "was" if stopped == 1 else "were"
        sentences.append(f"{stopped} of {seeds} {verb} stopped early; the mean is over the others.")
    sentences.extend(
        f"Learning rate {parent.training.learning_rate:.4g} is the {entry.edge} tried at batch size "
        f"{entry.batch_size}: the best one may lie outside the grid."
        for entry in tuned(table)
        if entry.best.key == parent.key and entry.edge
    )
    machines = {name for r in table.rows if r.kind == chosen.kind and (name := machine(r))}
    if len(machines) > 1:
        sentences.append(f"Figures come from {enumeration(sorted(machines))}: latencies compare only on one of them.")
    return [*sentences, *(row.result.warnings if row.result else ())]


def advice(table: SweepTable, chosen: Configuration, second: Configuration | None) -> list[str]:
    """What it would take to tell the first from the second."""
    objective = table.plan.objective
    values = chosen.values(objective.metric)
    if len(values) < 2:
        way = (
            "`seeds: all` under `compression` compresses every seed of a parent"
            if len(table.parent_of(chosen).rows) > 1
            else "three or more values of `seed` tell"
        )
        return [f"It rests on one seed: whether another seed would give the same order is not determined; {way}."]
    difference = None
    if second is not None:
        beside = table.beside(chosen, second, objective.metric)
        difference = paired_difference(values, second.values(objective.metric), objective.mode, beside)
    if difference is None or difference.deviation is None or not difference.mean:
        return []
    if difference.verdict is not Verdict.NO_DIFFERENCE:
        return []
    needed = pairs_needed(difference.deviation, abs(difference.mean)) if difference.deviation else SAME_SIGN
    return [
        f"First and second differ by {quantity(objective.metric, abs(difference.mean), 2)} in {objective.metric}; "
        f"if that is real, about {needed:,} seeds would show it (there are {difference.pairs})."
    ]
