"""Ends a trial of the fit of `batch_size: auto` once its evaluations determine its steps to the target.

The fit needs every trial's steps to the target. Only the best learning rate of each batch size must run to its end: its
whole curve is compared with other batch sizes at equal examples and equal steps. A trial that reaches the target after
more steps than another one of its batch size ends at once, and nothing is lost: its steps to the target are known.
Trials of different batch sizes are never compared, and a confirming trial runs to its end.
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
    """`trials`: all known trials; `history`: returns the evaluations so far of a trial, by its id."""
    if not may_end(sweep, trial, history(trial.id)):
        return False

    def steps(name: str) -> float:
        where = target_crossing(history(name), sweep.objective)
        return where.steps if where else math.inf

    own, alike = steps(trial.id), but_for_rate(trial)
    rivals = (one for one in trials if _is_of_a_fit(one) and but_for_rate(one) == alike)
    return any(steps(rival.id) < own for rival in rivals)


def may_end(sweep: Sweep, trial: Trial, history: Sequence[Report]) -> bool:
    """Whether these evaluations may suffice; the final decision also depends on the other trials of the batch size.

    They do not suffice if another sweep ended the trial for its own reasons, such as an easier target.
    """
    to_be_found = isinstance(sweep.parameters.batch_size, AutoBatchSize)
    return to_be_found and _is_of_a_fit(trial) and target_crossing(history, sweep.objective) is not None


def _is_of_a_fit(trial: Trial) -> bool:
    return trial.stage in (Stage.FIT, Stage.EDGE)
