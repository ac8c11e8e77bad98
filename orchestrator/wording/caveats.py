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
from orchestrator.analysis.format import enumeration, plural, quantity, summary_words
from orchestrator.analysis.goals import goal_words
from orchestrator.analysis.table import SweepTable
from orchestrator.wording.reasons import label
from orchestrator.wording.training import cost_words

MOST_TOLD = 4  # trials by their ids


def caveat_sentences(table: SweepTable, caveat: Caveat) -> list[str]:
    """One caveat: a sentence, but for files that are damaged one each."""
    return _damaged(caveat) if isinstance(caveat, DamagedFiles) else [_sentence(table, caveat)]


def _sentence(table: SweepTable, caveat: Caveat) -> str:
    metric = table.plan.objective.metric
    match caveat:
        case Unfinished(waiting, of):
            return f"{waiting} of {plural(of, 'trial')} have not ended: this may change."
        case NoFiniteFigure(trials):
            more = f" and {len(trials) - MOST_TOLD} more" if len(trials) > MOST_TOLD else ""
            told = enumeration(trials[:MOST_TOLD])
            return (
                f"{told}{more} ended with a {metric} that is no finite number: a configuration "
                "with such a seed takes no part."
            )
        case NoisyLatencies(worst, variants, goals_undetermined):
            goals = "; a goal on them is not determined for what was measured there" if goals_undetermined else ""
            return (
                f"Latencies are not usable, and the choice does not use them: beside {plural(variants, 'variant')} the "
                f"parent timed against itself was not 1, at worst {worst}{goals}. The machine was not quiet; measure "
                "where nothing else runs."
            )
        case SharedMachine(found):
            many = f"{len(found.trainings)} of {plural(found.of, 'training')}"
            return (
                f"{many} ran while other trials of this sweep ran on the same machine, up to {found.at_once} at a "
                "time: their seconds and examples/s are not those of a quiet machine."
            )
        case BetterTraining():
            return _better_training(table, caveat)
        case GoalNotAsked(goal, variants_broke):
            asked = goal_words(goal, table.plan.direction(goal.metric))
            why = "no variant ran to its end" if variants_broke else "nothing was compressed"
            return f"The goal {asked!r} was not asked: {why}, so there is no parent to compare with."
        case SeedBroke(row):
            return f"Another seed of it, {row.id} (seed {row.seed}), ended as {row.status}."
        case SeedsStopped(stopped, of):
            verb = "was" if stopped == 1 else "were"
            return f"{stopped} of {plural(of, 'seed')} {verb} stopped early; the mean is over the others."
        case EdgeOfGrid(batch_size, rate, edge):
            return (
                f"Learning rate {rate:.4g} is the {edge} tried at batch size {batch_size}: the best one may lie "
                "outside the grid."
            )
        case SeveralMachines(names):
            return f"Figures come from {enumeration(names)}: latencies compare only on one of them."
        case TrialWarns(text):
            return text
        case OneSeed(parent_seeds):
            way = (
                "`seeds: all` under `compression` compresses every seed of a parent"
                if parent_seeds > 1
                else "three or more values of `seed` tell"
            )
            return f"It rests on one seed: whether another seed would give the same order is not determined; {way}."
        case FewSeeds(difference, needed, pairs):
            return (
                f"First and second differ by {quantity(metric, difference, 2)} in {metric}; if that is real, about "
                f"{needed:,} seeds would show it (there are {pairs})."
            )
        case _:
            raise TypeError(f"a caveat of several sentences: {caveat}")


def _damaged(caveat: DamagedFiles) -> list[str]:
    again = "until `paretune run` has made it anew, its trial counts as not ended"
    sentences = [f"{problem}; {again}." for problem in caveat.problems[:MOST_TOLD]]
    if (more := len(caveat.problems) - MOST_TOLD) > 0:
        sentences.append(f"So {'is' if more == 1 else 'are'} {plural(more, 'other file')}.")
    return sentences


def _better_training(table: SweepTable, caveat: BetterTraining) -> str:
    metric = table.plan.objective.metric
    best = f"{summary_words(metric, caveat.best_objective)}, {cost_words(table, caveat.best_seconds)}"
    parent = f"{summary_words(metric, caveat.parent_objective)}, {cost_words(table, caveat.parent_seconds)}"
    return (
        f"Of the trainings alone the same rule would choose {label(table, caveat.best)} ({metric} {best}; what is "
        f"recommended was trained as {label(table, caveat.parent)}: {parent}); it was not compressed."
    )
