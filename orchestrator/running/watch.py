"""Watches Ray, the cluster's nodes and the running trials of a sweep, and says when one is lost.

Ray ended, or this driver's own node    RayLostError: a Ray of our own is started anew, and the sweep goes on
the head of a cluster does not answer   for `HEAD_S`: HeadLostError; Ray itself would end this process after a minute
another node was lost, or has come      said in a line; what ran there goes on from its checkpoint where there is room
nobody at work, and room for nobody     waited for `ROOM_S`, then NoRoomError: the same command goes on from there
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

WATCH_EVERY_SECONDS = 3.0  # between two looks
ANSWER_S = 20.0  # that the main thread has to answer when Ray has ended
HEAD_S = 20.0  # that the head of a cluster may be out of reach
ROOM_S = 300.0  # that a sweep waits for room with nobody at work


class RayLostError(NobodyAtWorkError):
    """Ray has ended under the sweep."""


class HeadLostError(RayLostError):
    """The head of the cluster does not answer: every call of Ray waits, until Ray ends this process."""


class NoRoomError(NobodyAtWorkError):
    """No node has room for the remaining trials."""


@dataclass
class AtWork:
    """Which trials have workers, and since when none has. A decision for a test to look at; asks nobody."""

    now: Clock = time.monotonic
    running: dict[str, str | None] = field(default_factory=dict)  # trial -> what it waits for; None: it has workers
    _idle_since: float | None = None

    def check(self, has_room: Callable[[], bool]) -> None:
        """Raises NoRoomError where nobody was at work for `ROOM_S` and the cluster has room for nobody.

        `has_room`: whether any trial that is left would fit; asked only where nobody is at work. Where others hold the
        room it will be free again, and is waited for.
        """
        if any(wait is None for wait in self.running.values()) or has_room():
            self._idle_since = None
            return
        now = self.now()
        self._idle_since = now if self._idle_since is None else self._idle_since
        if now - self._idle_since >= ROOM_S:
            waits = sorted({wait for wait in self.running.values() if wait}) or ["for room: a node is gone"]
            raise NoRoomError(
                f"stopped after {ROOM_S / 60:.0f} min with nobody at work, since all that is left waits "
                f"{' and '.join(waits)}. Nothing is lost: with room again, the same command goes on from here"
            )


@dataclass
class Nodes:
    """The cluster's nodes by their id, each in words; as they were last seen."""

    alive: Mapping[str, str]
    own: str  # id of the node that the driver runs on

    def news(self, alive: Mapping[str, str]) -> list[str]:
        """What has changed, a sentence each. Raises RayLostError where this driver's own node is gone."""
        before, self.alive = self.alive, alive
        if self.own not in alive:
            raise RayLostError(f"Ray has lost the node that this driver runs on ({before.get(self.own, self.own)})")
        lost = [
            f"node {words} is lost: what ran there goes on from its checkpoint, where there is room"
            for node, words in before.items()
            if node not in alive
        ]
        return lost + [f"node {words} has joined" for node, words in alive.items() if node not in before]


@dataclass
class Head:
    """The head of a cluster, which answers or does not. A decision for a test to look at."""

    address: str  # host:port
    answers: Callable[[str], bool]
    now: Clock = time.monotonic
    _silent_since: float | None = None

    def check(self) -> None:
        """Raises HeadLostError once it has not answered for `HEAD_S`."""
        if self.answers(self.address):
            self._silent_since = None
            return
        now = self.now()
        self._silent_since = now if self._silent_since is None else self._silent_since
        if now - self._silent_since >= HEAD_S:
            raise HeadLostError(f"the head of the Ray cluster, {self.address}, has not answered for {HEAD_S:.0f} s")


def listens(address: str) -> bool:
    """Whether connections are taken at host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=WATCH_EVERY_SECONDS).close()
    except OSError:
        return False
    return True


class Watch:
    """To be asked to `look` again and again; it does so every few seconds."""

    def __init__(self, at_work: AtWork, admission: Admission, tell: Callable[[str], None]) -> None:
        """`tell` is given what a person has to know, in a sentence."""
        import ray

        self._at_work, self._admission, self._tell = at_work, admission, tell
        self._nodes = Nodes(alive_nodes(), ray.get_runtime_context().get_node_id())
        self._looked = time.monotonic()

    def look(self) -> None:
        """Says what has befallen the cluster. Raises NobodyAtWorkError."""
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
    """In the block, a wait for a Ray that has ended is broken off, which Tune's loop may never do by itself.

    A main thread gets RayLostError, by a signal. Should it not answer for `ANSWER_S` either, the process ends with a
    sentence: Ray itself would end it half a minute later, with many words and none of what to do.
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
            if over.wait(WATCH_EVERY_SECONDS):  # the loop has seen it
                return
            found.append(error)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
            if not over.wait(ANSWER_S):
                print(f"paretune: {error}. Nothing is lost: the same command goes on from here", file=sys.stderr)
                sys.stderr.flush()
                os._exit(FAILED)
            return


def _head() -> Head | None:
    """Of a cluster that this process has joined; None where Ray is its own, whose daemons are looked at."""
    import ray

    node = own_node()
    if node is not None and node.is_head():
        return None
    return Head(ray.get_runtime_context().gcs_address, listens)


def check_own_daemons() -> None:
    """Raises RayLostError if a Ray that this process has started has ended."""
    node = own_node()
    dead = [kind for kind, _ in node.dead_processes() if kind in ("raylet", "gcs_server")] if node is not None else []
    if dead:
        raise RayLostError(f"Ray has ended here (its {dead[0]} was killed, or has crashed)")


def alive_nodes() -> dict[str, str]:
    """Id of each node that Ray takes to be alive -> `10.0.0.2 (8 CPU, 1 GPU)`."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: _words(node) for node in nodes if node["Alive"]}


def _words(node: Mapping[str, Any]) -> str:
    has = [f"{node['Resources'].get(kind, 0):.0f} {kind}" for kind in ("CPU", "GPU") if node["Resources"].get(kind)]
    return f"{node['NodeManagerAddress']} ({', '.join(has) or 'no CPU'})"
