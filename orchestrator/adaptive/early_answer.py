"""Ends a trial of the fit of `batch_size: auto` once its readings settle its steps to the target.

The fit asks every trial for its steps to the target. Of the best learning rate at each batch size the rest of the
budget is wanted too: that is what batch sizes are compared by at equal examples and equal steps. A trial that has
reached the target and was not the first there is ended, and nothing is lost: where it got there is known as well as if
it had run on. Trials of different batch sizes are never compared, and a confirmation runs to its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from orchestrator.adaptive.rate_edges import but_for_rate
from orchestrator.analysis.target_crossing import target_crossing
from orchestrator.sweep.plan import Stage, Trial
from orchestrator.sweep.spec import AutoBatchSize, Sweep
from trainables.results import Report

REASON = "it reached the target, and another learning rate of its batch size did so in fewer steps"


def has_answered(
    sweep: Sweep, trial: Trial, trials: Iterable[Trial], history: Callable[[str], Sequence[Report]]
) -> bool:
    """`trials`: all that are known by now; `history`: the readings of one of them so far, by its id."""
    if not may_end(sweep, trial, history(trial.id)):
        return False

    def steps(name: str) -> float:
        where = target_crossing(history(name), sweep.objective)
        return where.steps if where else math.inf

    own, alike = steps(trial.id), but_for_rate(trial)
    rivals = (one for one in trials if _is_of_a_fit(one) and but_for_rate(one) == alike)
    return any(steps(rival.id) < own for rival in rivals)


def may_end(sweep: Sweep, trial: Trial, history: Sequence[Report]) -> bool:
    """Whether these readings of a trial may be all that is asked of it: that depends on the others of its batch size.

    They are not where another sweep has ended the trial for its own reasons, as at a target that was easier to reach.
    """
    to_be_found = isinstance(sweep.parameters.batch_size, AutoBatchSize)
    return to_be_found and _is_of_a_fit(trial) and target_crossing(history, sweep.objective) is not None


def _is_of_a_fit(trial: Trial) -> bool:
    return trial.stage in (Stage.FIT, Stage.EDGE)
