"""Admits trials to Tune: parents before children, never more at a time than the cluster has room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from ray.tune.search import Searcher

from orchestrator.plan import Stage, Trial
from orchestrator.running.gang import Assignment
from orchestrator.running.ledger import Ledger
from orchestrator.running.resources import Need, Node, Shape, fits, need_of
from trainables.worker import WorkerGroupConfig


def choose(waiting: Sequence[Need], running: Sequence[Need], latest: Shape | None, nodes: Sequence[Node]) -> int:
    """Index of the trial to admit next, or -1 to wait.

    Trials that want workers of the shape that was admitted last come first, because a gang starts its workers anew for
    another shape.
    """
    if any(need.alone for need in running):
        return -1
    taken = [need.claim for need in running]
    refused: set[Shape] = set()
    for i in sorted(range(len(waiting)), key=lambda i: (waiting[i].workers != latest, i)):
        claim = waiting[i].claim
        if claim not in refused and not (running and waiting[i].alone):
            if fits([*taken, claim], nodes):
                return i
            refused.add(claim)
    return -1


class Admission(Searcher):
    """What Tune asks for its next trial. It gives None while there is nothing to admit, and FINISHED at the end."""

    def __init__(
        self, ledger: Ledger, nodes: Sequence[Node], template: WorkerGroupConfig, at_a_time: int | None = None
    ) -> None:
        """`template`: the workers' configuration; its numbers are replaced by those of each trial's shape.

        `at_a_time`: how many trials run at most, whatever room there is.
        """
        super().__init__()
        self._ledger = ledger
        self._nodes = nodes
        self._template = template
        self._at_a_time = at_a_time
        self._running: dict[str, tuple[str, Need]] = {}  # Tune's trial id -> our trial and what it takes
        self._latest: Shape | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if self._ledger.is_complete:
            finished: Any = Searcher.FINISHED
            return cast("dict[str, Any]", finished)
        if self._at_a_time is not None and len(self._running) >= self._at_a_time:
            return None
        taken = {trial for trial, _ in self._running.values()}
        waiting = [trial for trial in self._ledger.open_trials() if trial.id not in taken]
        needs = [self._need(trial) for trial in waiting]
        chosen = choose(needs, [need for _, need in self._running.values()], self._latest, self._nodes)
        if chosen < 0:
            return None
        trial, workers = waiting[chosen], needs[chosen].workers
        self._running[trial_id] = trial.id, needs[chosen]
        self._latest = workers
        numbers = {"num_workers": workers.num_workers, "cpus_per_worker": workers.cpus, "gpus_per_worker": workers.gpus}
        assignment = Assignment(
            trial=trial.id,
            config=trial.config,
            group=self._template.model_copy(update=numbers),
            objective=self._ledger.plan.sweep.objective.metric,
            may_stop_early=trial.may_stop_early,
        )
        return {"trial": trial.id, "assignment": assignment.model_dump_json()}

    def _need(self, trial: Trial) -> Need:
        """A confirmation's seconds are the verdict: on the one node there is, nothing runs beside it."""
        need = need_of(trial.config, self._nodes, self._template.cpus_per_worker)
        shared = len(self._nodes) == 1 and not need.workers.gpus
        return replace(need, alone=True) if trial.stage is Stage.CONFIRMATION and shared else need

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._running.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a sweep is resumed from its storage, not from Tune's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see save."""

    def get_state(self) -> dict[str, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {}
