"""What to doubt about a recommendation, in sentences: one `match` over its caveats."""

from __future__ import annotations

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
    """One caveat: a sentence, but for files that are damaged one each."""
    return _damaged(caveat) if isinstance(caveat, DamagedFiles) else [_sentence(table, caveat)]


def _sentence(table: SweepTable, caveat: Caveat) -> Sentence:
    metric = table.plan.objective.metric
    match caveat:
        case Unfinished(waiting, of):
            return Sentence(f"{waiting} of {plural(of, 'trial')} have not ended: this may change.")
        case NoFiniteFigure(trials):
            more = f" and {len(trials) - MOST_TRIALS_TOLD} more" if len(trials) > MOST_TRIALS_TOLD else ""
            return Sentence(
                f"{enumeration(trials[:MOST_TRIALS_TOLD])}{more} ended with a {metric} that is no finite number.",
                "A configuration with such a seed takes no part.",
            )
        case NoisyLatencies(worst, variants, goals_undetermined):
            goals = " A goal on a latency that was measured there is not determined." if goals_undetermined else ""
            return Sentence(
                "Latencies do not count: the machine was not quiet.",
                f"Beside {plural(variants, 'variant')} the parent timed against itself was not 1, at worst "
                f"{control_words(worst)}.{goals} Measure where nothing else runs.",
            )
        case SharedMachine(found):
            return Sentence(
                f"{len(found.trainings)} of {plural(found.of, 'training')} shared a machine: their seconds are not "
                "those of a quiet one.",
                f"Up to {found.at_once} trials of this sweep ran there at a time; the same holds for examples/s.",
            )
        case BetterTraining():
            return _better_training(table, caveat)
        case GoalNotAsked(goal, variants_broke):
            asked = goal_words(goal, table.plan.direction(goal.metric))
            why = "no variant ran to its end" if variants_broke else "nothing was compressed"
            return Sentence(f"The goal {asked!r} was not asked: {why}.", "So there is no parent to compare with.")
        case SeedBroke(row):
            return Sentence(f"Another seed of it, {row.id} (seed {row.seed}), ended as {row.status}.")
        case SeedsStopped(stopped, of):
            verb = "was" if stopped == 1 else "were"
            return Sentence(f"{stopped} of {plural(of, 'seed')} {verb} stopped early; the mean is over the others.")
        case EdgeOfGrid(batch_size, rate, edge):
            edge_words = f"Learning rate {rate:.4g} is the {edge} tried at batch size {batch_size}"
            return Sentence(f"{edge_words}: the best one may lie outside the grid.")
        case SeveralMachines(names):
            return Sentence(f"Figures come from {enumeration(names)}: latencies compare only on one of them.")
        case TrialWarns(text):
            return Sentence(text)
        case OneSeed(parent_seeds):
            way = (
                "`seeds: all` under `compression` compresses every seed of a parent."
                if parent_seeds > 1
                else "Three or more values of `seed` tell."
            )
            return Sentence("It rests on one seed: whether another would give the same order is not determined.", way)
        case FewSeeds(difference, needed, pairs):
            return Sentence(
                f"First and second differ by {quantity(metric, difference, 2)} in {metric}: about {needed:,} seeds "
                f"would tell (there are {pairs}).",
                "That is, if the difference is real.",
            )
        case _:
            raise TypeError(f"a caveat of several sentences: {caveat}")


def _damaged(caveat: DamagedFiles) -> list[Sentence]:
    again = "until `paretune run` has made it anew, its trial counts as not ended"
    sentences = [Sentence(f"{problem}; {again}.") for problem in caveat.problems[:MOST_TRIALS_TOLD]]
    if (more := len(caveat.problems) - MOST_TRIALS_TOLD) > 0:
        sentences.append(Sentence(f"So {'is' if more == 1 else 'are'} {plural(more, 'other file')}."))
    return sentences


def _better_training(table: SweepTable, caveat: BetterTraining) -> Sentence:
    metric = table.plan.objective.metric
    best = f"{summary_words(metric, caveat.best_objective)}, {cost_words(table, caveat.best_seconds)}"
    parent = f"{summary_words(metric, caveat.parent_objective)}, {cost_words(table, caveat.parent_seconds)}"
    return Sentence(
        f"By training alone it would be {label(table, caveat.best)}, which was not compressed.",
        f"The same rule, of the trainings: {metric} {best}; what is recommended was trained as "
        f"{label(table, caveat.parent)}: {parent}.",
    )
