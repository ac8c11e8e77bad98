"""Where a gang and its workers meet: commands one way, answers the other. An actor of its own, since the workers' main
threads belong to Ray Train and the gang's to Tune.

A group of workers that is restarted begins a new *life*, with a new log of commands: what was said to an earlier life
is never obeyed by a later one. The contents are JSON text (trainables.worker.messages), which the mailbox never reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

SHUTDOWN = '{"event":"shutdown"}'


@dataclass(frozen=True)
class LostGroup:
    """A group has broken off: what its workers said before, and what Ray Train knows of each (rank -> text)."""

    told: tuple[str, ...]  # failures, as JSON
    seen: dict[int, str]


@dataclass
class Incarnation:
    """One group of workers, from the first that joins until it is lost."""

    name: str
    num_workers: int
    pids: dict[int, int] = field(default_factory=dict)  # rank -> process
    commands: list[str] = field(default_factory=list)
    answers: dict[int, dict[int, str]] = field(default_factory=dict)  # command's index -> rank -> answer
    told: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return len(self.pids) == self.num_workers


class Mailbox:
    """To be made an actor with `ray.remote(Mailbox)`. Every wait has an end, so that the caller can look around."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._life: Incarnation | None = None
        self._losses: list[LostGroup] = []
        self._is_wanted = True  # somebody waits for the group, so it may start
        self._is_closed = False

    # -- the gang's side ----------------------------------------------------------------------------------------------

    async def ready(self, timeout_s: float) -> str | LostGroup:
        """The name of the life that is complete, empty while there is none; a loss not yet noticed comes first.

        To ask is to want a group: one that was lost starts anew only then.
        """
        async with self._changed:
            self._is_wanted = True
            self._changed.notify_all()
        await self._until(lambda: bool(self._losses) or (self._life is not None and self._life.is_complete), timeout_s)
        if self._losses:
            return self._losses.pop(0)
        return self._life.name if self._life is not None and self._life.is_complete else ""

    async def post(self, life: str, command: str) -> int:
        """Say something to all workers of a life; returns its number. To a life that is over it is not said."""
        if self._life is None or self._life.name != life:
            return -1
        async with self._changed:
            self._life.commands.append(command)
            self._changed.notify_all()
            return len(self._life.commands) - 1

    async def answers(self, life: str, index: int, timeout_s: float) -> dict[int, str] | LostGroup | None:
        """What all workers answered (rank -> answer), or how the group was lost; None: neither yet."""

        def taken() -> dict[int, str] | None:
            current = self._life if self._life is not None and self._life.name == life else None
            if current is None or len(current.answers.get(index, {})) < current.num_workers:
                return None
            return current.answers[index]

        await self._until(lambda: bool(self._losses) or taken() is not None, timeout_s)
        if self._losses:
            return self._losses.pop(0)
        return taken()

    async def close(self) -> None:
        """Tell all workers to leave, those too that are yet to come."""
        async with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    async def pids(self) -> dict[int, int]:
        """Rank -> process of the present life."""
        return dict(self._life.pids) if self._life is not None else {}

    # -- the workers' side --------------------------------------------------------------------------------------------

    async def join(self, life: str, rank: int, num_workers: int, pid: int) -> None:
        async with self._changed:
            if self._life is None or self._life.name != life:
                if self._life is not None:  # replaced without an error: its node was about to be taken away
                    self._losses.append(LostGroup(tuple(self._life.told), {}))
                self._life = Incarnation(life, num_workers)
            self._life.pids[rank] = pid
            self._changed.notify_all()

    async def command(self, life: str, index: int) -> str:
        """Waits for the command with this number. A worker of a life that is over is told to leave."""

        def said() -> str | None:
            if self._is_closed or self._life is None or self._life.name != life:
                return SHUTDOWN
            return self._life.commands[index] if len(self._life.commands) > index else None

        async with self._changed:
            await self._changed.wait_for(lambda: said() is not None)
            return said() or SHUTDOWN

    async def answer(self, life: str, index: int, rank: int, answer: str) -> None:
        if self._life is not None and self._life.name == life:
            async with self._changed:
                self._life.answers.setdefault(index, {})[rank] = answer
                self._changed.notify_all()

    async def worker_lost(self, life: str, failure: str) -> None:
        """A worker's last words. Ray Train will see that it is gone, and then the group is lost."""
        if self._life is not None and self._life.name == life:
            self._life.told.append(failure)

    # -- Ray Train's controller ---------------------------------------------------------------------------------------

    async def is_wanted(self) -> bool:
        """Waits until somebody wants a group; False once it is closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_wanted or self._is_closed)
        return not self._is_closed

    async def group_lost(self, seen: dict[int, str]) -> None:
        """The group is about to be ended."""
        async with self._changed:
            self._is_wanted = False
            told = tuple(self._life.told) if self._life is not None else ()
            self._losses.append(LostGroup(told, seen))
            self._life = None
            self._changed.notify_all()

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(condition), timeout_s)
            except TimeoutError:
                return
