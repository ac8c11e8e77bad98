"""The sentences that say what to doubt about a recommendation: one `match` over its caveats."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.analysis.caveats import (
    BetterTraining,
    Caveat,
    DamagedFiles,
    EdgeOfGrid,
    FewSeeds,
    GoalNotAsked,
    NoFiniteFigure,
    NoisyLatencies,
    OneSeed,
    SeedBroke,
    SeedsStopped,
    SeveralMachines,
    SharedMachine,
    TrialWarns,
    Unfinished,
)
from orchestrator.analysis.table import SweepTable
from orchestrator.wording.format import enumeration, plural, quantity, summary_words
from orchestrator.wording.goals import control_words, goal_words
from orchestrator.wording.reasons import label
from orchestrator.wording.sentence import Sentence
from orchestrator.wording.training import cost_words

MOST_TRIALS_TOLD = 4  # trials by their ids


def caveat_sentences(table: SweepTable, caveat: Caveat) -> list[Sentence]:
    """The sentence of one caveat; damaged files have one sentence each."""
    return _damaged(caveat) if isinstance(caveat, DamagedFiles) else [_sentence(table, caveat)]


def _sentence(table: SweepTable, caveat: Caveat) -> Sentence:
    metric = table.plan.objective.metric
    match caveat:
        case Unfinished(waiting, of):
            return Sentence(f"{waiting} of {plural(of, 'trial')} have not ended: the recommendation may change.")
        case NoFiniteFigure(trials):
            return _no_finite_figure(metric, trials)
        case NoisyLatencies():
            return _noisy_latencies(caveat)
        case SharedMachine(found):
            return Sentence(
                f"{len(found.trainings)} of {plural(found.of, 'training')} shared a machine: their seconds are not "
                "those of a quiet one.",
                f"Up to {found.at_once} trials of this sweep ran there at a time, which affects examples/s too.",
            )
        case BetterTraining():
            return _better_training(table, caveat)
        case GoalNotAsked(goal, variants_broke):
            asked = goal_words(goal, table.plan.direction(goal.metric))
            why = "no variant ran to its end" if variants_broke else "nothing was compressed"
            return Sentence(f"The goal {asked!r} was not checked: {why}.", "So there is no parent to compare with.")
        case SeedBroke(row):
            return Sentence(f"Another seed of this configuration, {row.id} (seed {row.seed}), ended as {row.status}.")
        case SeedsStopped(stopped, of):
            verb = "was" if stopped == 1 else "were"
            return Sentence(f"{stopped} of {plural(of, 'seed')} {verb} stopped early; the mean is over the others.")
        case EdgeOfGrid(batch_size, rate, edge):
            edge_words = f"Learning rate {rate:.4g} is the {edge} tried at batch size {batch_size}"
            return Sentence(f"{edge_words}: the best one may lie outside the grid.")
        case SeveralMachines(names):
            return Sentence(f"Figures come from {enumeration(names)}: compare latencies only within one of them.")
        case TrialWarns(text):
            return Sentence(text)
        case OneSeed(parent_seeds):
            return _one_seed(parent_seeds)
        case FewSeeds(difference, needed, pairs):
            return Sentence(
                f"The first and the second differ by {quantity(metric, difference, 2)} in {metric}: it would take "
                f"about {needed:,} seeds to tell them apart (there are {pairs}).",
                "This assumes that the difference is real.",
            )
        case _:
            raise TypeError(f"a caveat of several sentences: {caveat}")


def _no_finite_figure(metric: str, trials: Sequence[str]) -> Sentence:
    more = f" and {len(trials) - MOST_TRIALS_TOLD} more" if len(trials) > MOST_TRIALS_TOLD else ""
    return Sentence(
        f"{enumeration(trials[:MOST_TRIALS_TOLD])}{more} ended with a {metric} that is not a finite number.",
        "Configurations with such a seed are not considered.",
    )


def _noisy_latencies(caveat: NoisyLatencies) -> Sentence:
    goals = " Goals on these latencies are not determined." if caveat.goals_undetermined else ""
    return Sentence(
        "Latencies do not count: the machine was not quiet.",
        f"For {plural(caveat.variants, 'variant')} the control (the parent's latency over itself) was not 1, at worst "
        f"{control_words(caveat.worst)}.{goals} Measure on a machine where nothing else runs.",
    )


def _one_seed(parent_seeds: int) -> Sentence:
    way = (
        "`seeds: all` under `compression` compresses every seed of a parent."
        if parent_seeds > 1
        else "Three or more values of `seed` would tell."
    )
    return Sentence("The ranking rests on one seed: another seed may give another order.", way)


def _damaged(caveat: DamagedFiles) -> list[Sentence]:
    again = "until `paretune run` has produced it again, its trial counts as not ended"
    sentences = [Sentence(f"{problem}; {again}.") for problem in caveat.problems[:MOST_TRIALS_TOLD]]
    if (more := len(caveat.problems) - MOST_TRIALS_TOLD) > 0:
        sentences.append(Sentence(f"{plural(more, 'other file')} {'is' if more == 1 else 'are'} damaged too."))
    return sentences


def _better_training(table: SweepTable, caveat: BetterTraining) -> Sentence:
    metric = table.plan.objective.metric
    best = f"{summary_words(metric, caveat.best_objective)}, {cost_words(table, caveat.best_seconds)}"
    parent = f"{summary_words(metric, caveat.parent_objective)}, {cost_words(table, caveat.parent_seconds)}"
    return Sentence(
        f"Among the trainings alone, {label(table, caveat.best)} would be recommended; it was not compressed.",
        f"The same rule over the trainings selects it: {metric} {best}. The recommended variant was trained as "
        f"{label(table, caveat.parent)}: {parent}.",
    )
