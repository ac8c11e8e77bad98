"""A group of workers from its owner's side: start it, send commands, close it. Ray Train runs it in its own thread."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.running.mailbox import LostGroup, Mailbox
from orchestrator.running.resources import Shape, cluster_nodes, fits, remove_reservation, reservations, suits
from trainables.errors import ParetuneError
from trainables.worker.messages import Advance, Answer, GroupFailure, NoWorkersYet, Start, WorkerFailure, decode, encode
from trainables.worker.ray_worker import WorkerGroupConfig, make_trainer

LOOK_AROUND_S = 1.0  # seconds between two checks, during a wait for workers, that the group still exists
SAY_S = 30.0  # seconds of waiting for workers, which may only be starting, before it is reported
START_LIMIT = 3  # consecutive failed starts before the group is given up
CLOSE_TIMEOUT_S = 120.0  # a group that is starting finishes its start before it can close


class GroupGoneError(ParetuneError, RuntimeError):
    """The group has ended, and does not restart by itself."""


class Group:
    """Workers of one shape. Not thread-safe: one owner, one question at a time."""

    def __init__(self, config: WorkerGroupConfig) -> None:
        """Returns at once; the first `start` waits for the workers."""
        self.config = config
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor_class: Any = ray.remote(Mailbox)
        options = {"num_cpus": 0, "max_concurrency": 1000, "scheduling_strategy": here}
        self._mailbox: Any = actor_class.options(**options).remote()
        self._incarnation = ""
        self._failed_starts = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="ray-train")
        self._thread.start()

    def start(self, command: Start) -> Answer | GroupFailure | NoWorkersYet:
        """Begin a trial and wait for its first event; to be called again if there are no workers. Raises
        GroupGoneError.
        """
        incarnation = self._ready()
        if isinstance(incarnation, NoWorkersYet):
            return incarnation
        self._incarnation = incarnation
        return self._ask(command)

    def advance(self) -> Answer | GroupFailure:
        """Wait for the next event of the started trial. Raises GroupGoneError."""
        return self._ask(Advance())

    def close(self) -> None:
        """End the workers, and wait until their reservations are free, as nothing else would free them."""
        with contextlib.suppress(GroupGoneError):
            self._call("close")
            self._thread.join(CLOSE_TIMEOUT_S)
            if not self._thread.is_alive():  # otherwise the mailbox must still tell workers to leave
                ray.kill(self._mailbox)

    def _run(self) -> None:
        try:
            make_trainer(self.config, self._mailbox).fit()
        except BaseException as error:
            self._error = error

    def _ready(self) -> str | NoWorkersYet:
        """The incarnation of the group that accepts commands; waits for a restart for a limited time."""
        until = time.monotonic() + SAY_S
        while time.monotonic() < until:
            word = self._call("ready", LOOK_AROUND_S)
            if isinstance(word, LostGroup):
                self._failed_starts += 1
                if self._failed_starts > START_LIMIT:
                    raise GroupGoneError(f"the workers could not be started: {_readable(word)}")
            elif word:
                self._failed_starts = 0
                return str(word)
            for reservation in reservations(orphaned=True):  # this group may be waiting for its resources
                remove_reservation(reservation)
            self._check()
            if (waiting := self._waiting()).node_is_lost:
                return waiting
        return self._waiting()

    def _ask(self, command: Start | Advance) -> Answer | GroupFailure:
        number = self._call("post", self._incarnation, encode(command))
        while True:
            word = self._call("answers", self._incarnation, number, LOOK_AROUND_S)
            if isinstance(word, LostGroup):
                return _readable(word)
            if word is not None:
                return cast("Answer", decode(word[0]))  # all have answered, and their answers are the same
            self._check()

    def _call(self, method: str, *arguments: object) -> Any:
        try:
            return ray.get(getattr(self._mailbox, method).remote(*arguments))
        except ray.exceptions.RayActorError as error:
            raise GroupGoneError(f"the mailbox of the group died: {error}") from None

    def _waiting(self) -> NoWorkersYet:
        shape = Shape(self.config.num_workers, self.config.cpus_per_worker, self.config.gpus_per_worker)
        wanted = self.config.accelerator_type, self.config.node_labels
        is_gone = not fits([shape], [node for node in cluster_nodes() if suits(node, *wanted)])
        return NoWorkersYet(reason=f"for {shape}{': a node is gone' if is_gone else ''}", node_is_lost=is_gone)

    def _check(self) -> None:
        if not self._thread.is_alive():
            raise GroupGoneError(f"the group of workers ended by itself: {self._error or 'without an error'}")


def _readable(loss: LostGroup) -> GroupFailure:
    failures = tuple(cast("WorkerFailure", decode(text)) for text in loss.reported)
    return GroupFailure(failures=failures, observed=tuple(sorted(loss.observed.items())))
