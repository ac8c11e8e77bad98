"""The mailbox between a gang and its workers, driven without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from orchestrator.running.mailbox import SHUTDOWN, LostGroup, Mailbox
from trainables.worker.messages import Shutdown, decode

SOON_S = 0.01


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 10))


async def joined(num_workers: int = 2, incarnation: str = "first") -> Mailbox:
    mailbox = Mailbox()
    for rank in range(num_workers):
        await mailbox.join(incarnation, rank, num_workers, 100 + rank)
    return mailbox


def test_a_group_is_ready_when_all_have_joined() -> None:
    async def scenario() -> None:
        mailbox = Mailbox()
        assert await mailbox.ready(SOON_S) == ""
        await mailbox.join("first", 0, 2, 100)
        assert await mailbox.ready(SOON_S) == ""
        await mailbox.join("first", 1, 2, 101)
        assert await mailbox.ready(SOON_S) == "first"
        assert await mailbox.pids() == {0: 100, 1: 101}

    run(scenario())


def test_every_worker_reads_every_command_in_order_and_waits_for_the_next() -> None:
    async def scenario() -> None:
        mailbox = await joined()
        assert [await mailbox.post("first", text) for text in ("a", "b")] == [0, 1]
        for _ in range(2):
            assert [await mailbox.command("first", index) for index in (0, 1)] == ["a", "b"]
        third = asyncio.create_task(mailbox.command("first", 2))
        await asyncio.sleep(SOON_S)
        assert not third.done()
        await mailbox.post("first", "c")
        assert await third == "c"

    run(scenario())


def test_an_answer_is_whole_when_all_have_answered() -> None:
    async def scenario() -> None:
        mailbox = await joined()
        index = await mailbox.post("first", "a")
        await mailbox.answer("first", index, 1, "one")
        assert await mailbox.answers("first", index, SOON_S) is None
        await mailbox.answer("first", index, 0, "zero")
        assert await mailbox.answers("first", index, SOON_S) == {0: "zero", 1: "one"}

    run(scenario())


def test_a_loss_reaches_whoever_waits_with_what_was_told_and_seen() -> None:
    async def scenario() -> None:
        mailbox = await joined()
        index = await mailbox.post("first", "a")
        waiting = asyncio.create_task(mailbox.answers("first", index, 5))
        await mailbox.worker_lost("first", "why")
        await mailbox.group_lost({1: "seen"})
        assert await waiting == LostGroup(("why",), {1: "seen"})
        assert await mailbox.ready(SOON_S) == ""

    run(scenario())


def test_a_later_incarnation_gets_no_command_to_an_earlier_one() -> None:
    async def scenario() -> None:
        mailbox = await joined()
        await mailbox.post("first", "a")
        await mailbox.group_lost({})
        assert await mailbox.post("first", "too late") == -1
        assert await mailbox.command("first", 0) == SHUTDOWN  # a straggler leaves
        for rank in range(2):
            await mailbox.join("second", rank, 2, 200 + rank)
        await mailbox.answer("first", 0, 0, "of a straggler")
        assert await mailbox.ready(SOON_S) == LostGroup((), {})
        assert await mailbox.ready(SOON_S) == "second"
        assert await mailbox.post("second", "b") == 0
        assert await mailbox.command("second", 0) == "b"
        assert await mailbox.answers("second", 0, SOON_S) is None

    run(scenario())


def test_a_group_replaced_without_an_error_is_a_loss_too() -> None:
    async def scenario() -> None:
        mailbox = await joined(1)
        index = await mailbox.post("first", "a")
        await mailbox.join("second", 0, 1, 200)
        assert await mailbox.answers("first", index, SOON_S) == LostGroup((), {})
        assert await mailbox.ready(SOON_S) == "second"

    run(scenario())


def test_closing_sends_everyone_away_late_comers_too() -> None:
    async def scenario() -> None:
        mailbox = await joined(1)
        waiting = asyncio.create_task(mailbox.command("first", 0))
        await asyncio.sleep(SOON_S)
        await mailbox.close()
        assert await waiting == SHUTDOWN
        await mailbox.join("second", 0, 1, 200)
        assert await mailbox.command("second", 0) == SHUTDOWN
        assert decode(SHUTDOWN) == Shutdown()

    run(scenario())
