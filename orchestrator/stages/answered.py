"""When a trial of the fit of `batch_size: auto` has told all that is asked of it, long before its budget ends.

The fit asks every trial for its steps to the target. Of the best learning rate at each batch size the rest of the
budget is wanted too: that is what batch sizes are compared by at equal examples and equal steps. A trial that has
reached the target and was not the first there is ended, and nothing is lost: where it got there is known as well as if
it had run on. Trials of different batch sizes are never compared, and a confirmation runs to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from orchestrator.analysis.targets import target_crossing
from orchestrator.plan import Stage, Trial
from orchestrator.spec import AutoBatchSize, Sweep
from orchestrator.stages.edges import but_for_rate
from trainables.results import Report

REASON = "it reached the target, and another learning rate of its batch size did so in fewer steps"


def has_answered(
    sweep: Sweep, trial: Trial, trials: Iterable[Trial], history: Callable[[str], Sequence[Report]]
) -> bool:
    """`trials`: all that are known by now; `history`: the readings of one of them so far, by its id."""
    if not _is_of_a_fit(trial) or not isinstance(sweep.parameters.batch_size, AutoBatchSize):
        return False

    def steps(name: str) -> float | None:
        where = target_crossing(history(name), sweep.objective)
        return where.steps if where else None

    own = steps(trial.id)
    if own is None:
        return False
    alike = but_for_rate(trial)
    rivals = (one for one in trials if _is_of_a_fit(one) and but_for_rate(one) == alike)
    return any((their := steps(rival.id)) is not None and their < own for rival in rivals)


def _is_of_a_fit(trial: Trial) -> bool:
    return trial.stage in (Stage.FIT, Stage.EDGE)
