"""When a sweep says that a node is lost, and when it gives up waiting for room: decisions, without Ray."""

from __future__ import annotations

import pytest

from orchestrator.running.watch import HEAD_S, ROOM_S, AtWork, Head, HeadLostError, Nodes, NoRoomError, RayLostError

WAITS = "for 2 x (1 CPU): a node is gone"
HEAD, SECOND = "10.0.0.1 (4 CPU)", "10.0.0.2 (8 CPU, 1 GPU)"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_sweep_with_room_for_nobody_waits_for_a_stated_time_and_stops_with_a_sentence() -> None:
    clock = Clock()
    at_work = AtWork(clock, {"a": WAITS, "b": WAITS})
    at_work.check(lambda: False)
    clock.now += ROOM_S - 1
    at_work.check(lambda: False)
    clock.now += 1
    with pytest.raises(NoRoomError) as stopped:
        at_work.check(lambda: False)
    assert str(stopped.value) == (
        "stopped after 5 min without any running trial, since all remaining trials wait for 2 x (1 CPU): a node is "
        "gone. Nothing is lost: once there is room, run the same command again to resume"
    )


@pytest.mark.parametrize("comes", ["a worker", "room"])
def test_who_works_or_has_room_in_between_is_not_given_up(comes: str) -> None:
    clock = Clock()
    at_work = AtWork(clock, {"a": WAITS})
    for _ in range(3):
        at_work.check(lambda: False)
        clock.now += ROOM_S - 1
        at_work.running["a"] = None if comes == "a worker" else WAITS
        at_work.check(lambda: comes == "room")
        at_work.running["a"] = WAITS


def test_a_trial_that_works_keeps_the_sweep_going_while_others_wait() -> None:
    clock = Clock()
    at_work = AtWork(clock, {"a": WAITS, "b": None})
    for _ in range(3):
        at_work.check(lambda: False)
        clock.now += ROOM_S


def test_trials_that_are_left_and_were_never_admitted_count_as_waiting() -> None:
    clock = Clock()
    at_work = AtWork(clock)
    at_work.check(lambda: False)
    clock.now += ROOM_S
    with pytest.raises(NoRoomError, match="wait for room: a node is gone"):
        at_work.check(lambda: False)


def test_nodes_that_go_and_come_are_told_once() -> None:
    nodes = Nodes({"h": HEAD, "s": SECOND}, own="h")
    assert nodes.news({"h": HEAD, "s": SECOND}) == []
    assert nodes.news({"h": HEAD}) == [
        "node 10.0.0.2 (8 CPU, 1 GPU) is lost: its trials resume from their checkpoints as soon as there is room"
    ]
    assert nodes.news({"h": HEAD}) == []
    assert nodes.news({"h": HEAD, "t": SECOND}) == ["node 10.0.0.2 (8 CPU, 1 GPU) has joined"]


def test_without_its_own_node_a_driver_cannot_go_on() -> None:
    with pytest.raises(RayLostError, match=r"the node that this driver runs on \(10\.0\.0\.1 \(4 CPU\)\)"):
        Nodes({"h": HEAD, "s": SECOND}, own="h").news({"s": SECOND})


def test_a_head_that_does_not_answer_for_a_while_is_lost_and_one_that_answers_again_is_not() -> None:
    clock, answers = [0.0], [False]
    head = Head("10.0.0.1:6379", lambda address: answers[0], lambda: clock[0])
    head.check()
    clock[0] = HEAD_S - 1
    head.check()
    answers[0] = True
    head.check()
    answers[0] = False
    head.check()
    clock[0] += HEAD_S
    with pytest.raises(HeadLostError, match=r"10.0.0.1:6379, has not answered for 20 s"):
        head.check()
