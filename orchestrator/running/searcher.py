"""Admits trials to Tune: parents before variants, and never more than fit onto the cluster at the same time."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from ray.tune.search import Searcher

from orchestrator.running.gang import Assignment
from orchestrator.running.ledger import Ledger
from orchestrator.running.resources import ClusterNode, Need, Shape, cluster_nodes, fits, need_of, suits
from orchestrator.sweep.plan import Stage, Trial
from trainables.worker.ray_worker import WorkerGroupConfig


def next_to_admit(
    waiting: Sequence[Need], running: Sequence[Need], latest: Shape | None, nodes: Sequence[ClusterNode]
) -> int:
    """Index of the trial to admit next, or -1 to wait.

    Trials with the shape of workers that was admitted last come first, because a gang must start new workers for
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
    """Tune's search algorithm: its next trial, None while there is nothing to admit, and FINISHED at the end."""

    def __init__(
        self, ledger: Ledger, nodes: Sequence[ClusterNode], template: WorkerGroupConfig, at_a_time: int | None = None
    ) -> None:
        """`template`: the workers' configuration; its numbers are replaced by those of each trial's shape.

        `at_a_time`: the largest number of concurrent trials, even if more fit.
        """
        super().__init__()
        self._ledger = ledger
        self.nodes: Sequence[ClusterNode] = nodes  # the current nodes
        self._first_nodes = nodes
        self._template = template
        self._at_a_time = at_a_time
        self._running: dict[str, tuple[Trial, Need]] = {}  # Tune's trial id -> our trial and its needs
        self._places: dict[str, int] = {}  # trial -> its place in the ledger's order
        # Need -> the places of the waiting trials with this need, the first on top. Trials with the same need are
        # admitted in their order, so only the first of each is considered.
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
        # A trial that waits for a lost node holds no resources.
        running = [need for _, need in self._running.values() if fits([need.claim], self.nodes)]
        chosen = next_to_admit(needs, running, self._latest, self.nodes)
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
        )
        return {"trial": trial.id, "assignment": assignment.model_dump_json()}

    def refresh(self) -> None:
        """Refresh the list of nodes; with other nodes, the needs of trials may change."""
        kind, labels = self._template.accelerator_type, self._template.node_labels
        nodes = [node for node in cluster_nodes() if suits(node, kind, labels)]
        if Counter(nodes) != Counter(self.nodes):
            self.nodes = nodes
            self._places.clear()
            self._waiting.clear()
            self._take_in()

    def has_room(self) -> bool:
        """Whether any remaining trial would fit if nothing else ran."""
        self._take_in()
        needs = [need for need in self._waiting if self._open(need)] + [need for _, need in self._running.values()]
        return any(fits([need.claim], self.nodes) for need in needs)

    def _take_in(self) -> None:
        """Queue the trials that have become known since the last call."""
        running = {trial.id for trial, _ in self._running.values()}
        for place in range(len(self._places), len(self._ledger.known)):
            trial = self._ledger.known[place]
            self._places[trial.id] = place
            if trial.id not in running:
                heapq.heappush(self._waiting[self._need(trial)], place)

    def _open(self, need: Need) -> list[int]:
        """Places of trials with this need; leading ones that already have a result are dropped."""
        places = self._waiting[need]
        while places and self._ledger.known[places[0]].id in self._ledger.results:
            heapq.heappop(places)
        return places

    def _need(self, trial: Trial) -> Need:
        """The needs of a trial. A confirming trial runs alone on a single node, because its seconds decide."""
        # A sweep that has begun on GPUs does not continue on CPUs when the GPU nodes are lost.
        lost_gpus = any(node.gpus for node in self._first_nodes) and not any(node.gpus for node in self.nodes)
        nodes = self._first_nodes if lost_gpus else self.nodes
        need = need_of(trial.config, nodes, self._template.cpus_per_worker)
        shared = len(nodes) == 1 and not need.workers.gpus
        return replace(need, alone=True) if trial.stage is Stage.CONFIRMATION and shared else need

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        trial, _ = self._running.pop(trial_id, (None, None))
        if trial is not None and trial.id not in self._ledger.results:  # the trial must run again
            heapq.heappush(self._waiting[self._need(trial)], self._places[trial.id])

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a sweep is resumed from its storage, not from Tune's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see save."""

    def get_state(self) -> dict[str, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {}
