"""Admits trials to Tune: parents before children, never more at a time than the cluster has room for."""

from __future__ import annotations

import heapq
from collections import defaultdict
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
        self._running: dict[str, tuple[Trial, Need]] = {}  # Tune's trial id -> our trial and what it takes
        self._places: dict[str, int] = {}  # trial -> its place in the ledger's order
        # What is wanted -> the places of the trials that want it and do not run, the first on top. Trials that want the
        # same are admitted in their order, so only the first of each is looked at.
        self._waiting: dict[Need, list[int]] = defaultdict(list)
        self._latest: Shape | None = None

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if self._ledger.is_complete:
            finished: Any = Searcher.FINISHED
            return cast("dict[str, Any]", finished)
        if self._at_a_time is not None and len(self._running) >= self._at_a_time:
            return None
        self._take_in()
        heads = sorted((places[0], need) for need in self._waiting if (places := self._open(need)))
        needs = [need for _, need in heads]
        chosen = choose(needs, [need for _, need in self._running.values()], self._latest, self._nodes)
        if chosen < 0:
            return None
        need, workers = needs[chosen], needs[chosen].workers
        trial = self._ledger.known[heapq.heappop(self._waiting[need])]
        self._running[trial_id] = trial, need
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

    def _take_in(self) -> None:
        """The trials that have become known since the last time."""
        for place in range(len(self._places), len(self._ledger.known)):
            trial = self._ledger.known[place]
            self._places[trial.id] = place
            heapq.heappush(self._waiting[self._need(trial)], place)

    def _open(self, need: Need) -> list[int]:
        """Places of trials that want this, the first of them without a result; what is there already is dropped."""
        places = self._waiting[need]
        while places and self._ledger.known[places[0]].id in self._ledger.results:
            heapq.heappop(places)
        return places

    def _need(self, trial: Trial) -> Need:
        """A confirmation's seconds are the verdict: on the one node there is, nothing runs beside it."""
        need = need_of(trial.config, self._nodes, self._template.cpus_per_worker)
        shared = len(self._nodes) == 1 and not need.workers.gpus
        return replace(need, alone=True) if trial.stage is Stage.CONFIRMATION and shared else need

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial, need = self._running.pop(trial_id, (None, None))
        if trial is not None and need is not None and trial.id not in self._ledger.results:  # it is to be run again
            heapq.heappush(self._waiting[need], self._places[trial.id])

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a sweep is resumed from its storage, not from Tune's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see save."""

    def get_state(self) -> dict[str, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {}
