"""The mailbox between a gang and its workers: commands one way, answers the other. It is a separate actor, because the
workers' main threads belong to Ray Train and the gang's main thread belongs to Tune.

A restarted group of workers is a new *incarnation* with a new log of commands, so it never executes commands to an
earlier one. The mailbox does not interpret the messages, which are JSON text (trainables.worker.messages).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

SHUTDOWN = '{"event":"shutdown"}'


@dataclass(frozen=True)
class LostGroup:
    """A group was lost: the failures that its workers reported, and what Ray Train observed of each (rank -> text)."""

    reported: tuple[str, ...]  # failures, as JSON
    observed: dict[int, str]


@dataclass
class Incarnation:
    """One life of a group of workers, from the first worker that joins until the group is lost."""

    name: str
    num_workers: int
    pids: dict[int, int] = field(default_factory=dict)  # rank -> process
    commands: list[str] = field(default_factory=list)
    answers: dict[int, dict[int, str]] = field(default_factory=dict)  # command's index -> rank -> answer
    reported: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return len(self.pids) == self.num_workers


class Mailbox:
    """To be made an actor with `ray.remote(Mailbox)`. Every wait has a time limit, so that callers can check
    the group.
    """

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._current: Incarnation | None = None
        self._losses: list[LostGroup] = []
        self._is_wanted = True  # a caller waits for the group, so it may start
        self._is_closed = False

    @property
    def _complete(self) -> Incarnation | None:
        return self._current if self._current is not None and self._current.is_complete else None

    # -- the gang's side ----------------------------------------------------------------------------------------------

    async def ready(self, timeout_s: float) -> str | LostGroup:
        """The name of the complete incarnation, empty while there is none; an unreported loss is returned first.

        This call requests a group: a lost group restarts only then.
        """
        async with self._changed:
            self._is_wanted = True
            self._changed.notify_all()
        await self._until(
            lambda: bool(self._losses) or (self._current is not None and self._current.is_complete), timeout_s
        )
        if self._losses:
            return self._losses.pop(0)
        return self._current.name if self._current is not None and self._current.is_complete else ""

    async def post(self, incarnation: str, command: str) -> int:
        """Post a command to all workers of an incarnation; returns its number, or -1 if the incarnation has ended."""
        if self._current is None or self._current.name != incarnation:
            return -1
        async with self._changed:
            self._current.commands.append(command)
            self._changed.notify_all()
            return len(self._current.commands) - 1

    async def answers(self, incarnation: str, index: int, timeout_s: float) -> dict[int, str] | LostGroup | None:
        """The answers of all workers (rank -> answer), or the loss of the group; None if neither is there yet."""

        def taken() -> dict[int, str] | None:
            current = self._current if self._current is not None and self._current.name == incarnation else None
            if current is None or len(current.answers.get(index, {})) < current.num_workers:
                return None
            return current.answers[index]

        await self._until(lambda: bool(self._losses) or taken() is not None, timeout_s)
        if self._losses:
            return self._losses.pop(0)
        return taken()

    async def close(self) -> None:
        """Tell all workers to leave, including workers that join later."""
        async with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    async def pids(self) -> dict[int, int]:
        """Rank -> process id of the current incarnation."""
        return dict(self._current.pids) if self._current is not None else {}

    # -- the workers' side --------------------------------------------------------------------------------------------

    async def join(self, incarnation: str, rank: int, num_workers: int, pid: int) -> None:
        async with self._changed:
            if self._current is None or self._current.name != incarnation:
                if self._current is not None:  # replaced without an error, because its node was about to be removed
                    self._losses.append(LostGroup(tuple(self._current.reported), {}))
                self._current = Incarnation(incarnation, num_workers)
            self._current.pids[rank] = pid
            self._changed.notify_all()

    async def command(self, incarnation: str, index: int) -> str:
        """Wait for the command with this number. A worker of an ended incarnation is told to leave."""

        def said() -> str | None:
            if self._is_closed or self._current is None or self._current.name != incarnation:
                return SHUTDOWN
            return self._current.commands[index] if len(self._current.commands) > index else None

        async with self._changed:
            await self._changed.wait_for(lambda: said() is not None)
            return said() or SHUTDOWN

    async def answer(self, incarnation: str, index: int, rank: int, answer: str) -> None:
        if self._current is not None and self._current.name == incarnation:
            async with self._changed:
                self._current.answers.setdefault(index, {})[rank] = answer
                self._changed.notify_all()

    async def worker_lost(self, incarnation: str, failure: str) -> None:
        """Record a failing worker's last report. Ray Train then observes the loss, and the group is lost."""
        if self._current is not None and self._current.name == incarnation:
            self._current.reported.append(failure)

    # -- Ray Train's controller ---------------------------------------------------------------------------------------

    async def is_wanted(self) -> bool:
        """Wait until a group is requested; False once the mailbox is closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_wanted or self._is_closed)
        return not self._is_closed

    async def group_lost(self, observed: dict[int, str]) -> None:
        """Record that the group is about to be ended."""
        async with self._changed:
            self._is_wanted = False
            reported = tuple(self._current.reported) if self._current is not None else ()
            self._losses.append(LostGroup(reported, observed))
            self._current = None
            self._changed.notify_all()

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(condition), timeout_s)
            except TimeoutError:
                return
