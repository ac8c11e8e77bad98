"""A trial that no longer does anything is noticed, with the place where it is; one that is slow is left alone."""

from __future__ import annotations

import threading
import time

from trainables.process.heartbeat import beat, listening


def test_who_hangs_is_told_with_its_place() -> None:
    told: list[str] = []
    said = threading.Event()

    def stalled(where: str) -> None:
        told.append(where)
        said.set()

    with listening(0.2, stalled):
        said.wait(60)  # this line is where it hangs
    assert len(told) == 1
    assert "said.wait(60)" in told[0]


def test_who_does_something_now_and_then_is_left_alone_and_so_is_who_waits_for_work() -> None:
    told: list[str] = []
    with listening(5.0, told.append):
        for _ in range(3):
            time.sleep(0.05)
            beat()
    with listening(0.2, told.append):
        pass
    time.sleep(0.5)
    assert told == []
