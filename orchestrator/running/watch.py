"""Watches Ray, the cluster's nodes and the running trials of a sweep, and reports losses.

Ray ended, or this driver's own node    RayLostError: a Ray of our own is started anew, and the sweep goes on
the head of a cluster does not answer   for `HEAD_S`: HeadLostError; Ray itself would end this process after a minute
another node was lost, or has joined    reported; its trials resume from their checkpoints as soon as there is room
no trial runs, and none has room        after `ROOM_S` seconds NoRoomError: the same command resumes the sweep
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from orchestrator.compat import own_node
from orchestrator.exit_codes import FAILED
from orchestrator.running.executor import NobodyAtWorkError
from orchestrator.running.progress import Clock
from orchestrator.running.searcher import Admission

WATCH_EVERY_SECONDS = 3.0  # seconds between two checks
ANSWER_S = 20.0  # seconds in which the main thread must react when Ray has ended
HEAD_S = 20.0  # seconds that the head of a cluster may be unreachable
ROOM_S = 300.0  # seconds that a sweep waits for room while no trial is running


class RayLostError(NobodyAtWorkError):
    """Ray has ended during the sweep."""


class HeadLostError(RayLostError):
    """The head of the cluster does not answer: every call to Ray waits, until Ray ends this process."""


class NoRoomError(NobodyAtWorkError):
    """No node has room for the remaining trials."""


@dataclass
class AtWork:
    """Tracks which trials have workers, and since when none has. It queries nothing, so tests can check its
    decisions.
    """

    now: Clock = time.monotonic
    running: dict[str, str | None] = field(default_factory=dict)  # trial -> what it waits for; None if it has workers
    _idle_since: float | None = None

    def check(self, has_room: Callable[[], bool]) -> None:
        """Raises NoRoomError if no trial has run for `ROOM_S` seconds and none fits onto the cluster.

        `has_room`: whether any remaining trial would fit; called only while no trial is running. Room that other jobs
        hold will be free again, so it counts.
        """
        if any(wait is None for wait in self.running.values()) or has_room():
            self._idle_since = None
            return
        now = self.now()
        self._idle_since = now if self._idle_since is None else self._idle_since
        if now - self._idle_since >= ROOM_S:
            waits = sorted({wait for wait in self.running.values() if wait}) or ["for room: a node is gone"]
            raise NoRoomError(
                f"stopped after {ROOM_S / 60:.0f} min without any running trial, since all remaining trials wait "
                f"{' and '.join(waits)}. Nothing is lost: once there is room, run the same command again to resume"
            )


@dataclass
class Nodes:
    """The cluster's nodes when last checked: id -> description."""

    alive: Mapping[str, str]
    own: str  # id of the node that the driver runs on

    def news(self, alive: Mapping[str, str]) -> list[str]:
        """One sentence per change. Raises RayLostError if this driver's own node is lost."""
        before, self.alive = self.alive, alive
        if self.own not in alive:
            raise RayLostError(f"Ray has lost the node that this driver runs on ({before.get(self.own, self.own)})")
        lost = [
            f"node {words} is lost: its trials resume from their checkpoints as soon as there is room"
            for node, words in before.items()
            if node not in alive
        ]
        return lost + [f"node {words} has joined" for node, words in alive.items() if node not in before]


@dataclass
class Head:
    """Tracks whether the head of a cluster answers. It queries nothing itself, so tests can check its decisions."""

    address: str  # host:port
    answers: Callable[[str], bool]
    now: Clock = time.monotonic
    _silent_since: float | None = None

    def check(self) -> None:
        """Raises HeadLostError once the head has not answered for `HEAD_S` seconds."""
        if self.answers(self.address):
            self._silent_since = None
            return
        now = self.now()
        self._silent_since = now if self._silent_since is None else self._silent_since
        if now - self._silent_since >= HEAD_S:
            raise HeadLostError(f"the head of the Ray cluster, {self.address}, has not answered for {HEAD_S:.0f} s")


def listens(address: str) -> bool:
    """Whether host:port accepts connections."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=WATCH_EVERY_SECONDS).close()
    except OSError:
        return False
    return True


class Watch:
    """Checks the cluster: `look` is called often, and checks every few seconds."""

    def __init__(self, at_work: AtWork, admission: Admission, tell: Callable[[str], None]) -> None:
        """`tell` receives sentences for the user."""
        import ray

        self._at_work, self._admission, self._tell = at_work, admission, tell
        self._nodes = Nodes(alive_nodes(), ray.get_runtime_context().get_node_id())
        self._looked = time.monotonic()

    def look(self) -> None:
        """Report changes of the cluster. Raises NobodyAtWorkError."""
        if time.monotonic() - self._looked < WATCH_EVERY_SECONDS:
            return
        check_own_daemons()
        for sentence in self._nodes.news(alive_nodes()):
            self._tell(sentence)
        self._admission.refresh()
        self._at_work.check(self._admission.has_room)
        self._looked = time.monotonic()


@contextmanager
def breaking_off() -> Iterator[None]:
    """In the block, a wait for a Ray that has ended is interrupted, because Tune's loop may wait forever.

    The main thread gets RayLostError, by a signal. If it does not react within `ANSWER_S` seconds, the process ends
    with a message. Ray itself would end it half a minute later, with a long message that does not say what to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over, found = threading.Event(), list[RayLostError]()

    def answer(number: int, frame: FrameType | None) -> None:
        over.set()
        raise found[0]

    before = signal.signal(signal.SIGUSR2, answer)
    threading.Thread(target=_guard, args=[over, found], name="ray-guard", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.signal(signal.SIGUSR2, before)


def _guard(over: threading.Event, found: list[RayLostError]) -> None:
    head = _head()
    while not over.wait(WATCH_EVERY_SECONDS):
        try:
            check_own_daemons()
            if head is not None:
                head.check()
        except RayLostError as error:
            if over.wait(WATCH_EVERY_SECONDS):  # the loop has noticed it
                return
            found.append(error)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
            if not over.wait(ANSWER_S):
                print(f"paretune: {error}. Nothing is lost: run the same command again to resume", file=sys.stderr)
                sys.stderr.flush()
                os._exit(FAILED)
            return


def _head() -> Head | None:
    """The head's address, if this process has joined a cluster; None for a local Ray, whose daemons are checked."""
    import ray

    node = own_node()
    if node is not None and node.is_head():
        return None
    return Head(ray.get_runtime_context().gcs_address, listens)


def check_own_daemons() -> None:
    """Raises RayLostError if a Ray that this process started has ended."""
    node = own_node()
    dead = [kind for kind, _ in node.dead_processes() if kind in ("raylet", "gcs_server")] if node is not None else []
    if dead:
        raise RayLostError(f"Ray has ended here (its {dead[0]} was killed, or has crashed)")


def alive_nodes() -> dict[str, str]:
    """Id of each node that Ray considers alive -> `10.0.0.2 (8 CPU, 1 GPU)`."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: _words(node) for node in nodes if node["Alive"]}


def _words(node: Mapping[str, Any]) -> str:
    has = [f"{node['Resources'].get(kind, 0):.0f} {kind}" for kind in ("CPU", "GPU") if node["Resources"].get(kind)]
    return f"{node['NodeManagerAddress']} ({', '.join(has) or 'no CPU'})"
