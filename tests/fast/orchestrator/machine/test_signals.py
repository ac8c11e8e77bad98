"""Ctrl-C and SIGTERM, really sent: what each raises, which exit code it asks for, and whose farewell is hurried."""

from __future__ import annotations

import os
import signal
import time
import weakref

import pytest

from orchestrator.machine.signals import heeding_signals


@pytest.mark.parametrize(
    ("signals", "exit_code", "is_hurried"),
    [
        ([signal.SIGINT], 130, False),
        ([signal.SIGINT, signal.SIGINT], 130, True),
        ([signal.SIGTERM], 143, True),
        ([signal.SIGINT, signal.SIGTERM], 143, True),
    ],
)
def test_each_signal_interrupts(signals: list[signal.Signals], exit_code: int, is_hurried: bool) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with heeding_signals() as interrupts:
        for number in signals:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert (interrupts.exit_code, interrupts.is_hurried) == (exit_code, is_hurried)
        if is_hurried:  # the farewell has begun, and has its limit: nothing disturbs it any more
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


class Node:
    """Something that a finaliser can be attached to."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_arrives_while_python_tidies_up_is_not_lost(number: signal.Signals) -> None:
    nodes = [Node()]
    watched = weakref.ref(nodes[0], lambda _: os.kill(os.getpid(), number))  # what is raised in there goes nowhere
    with heeding_signals() as interrupts:
        nodes.clear()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(60)
    assert watched() is None
    assert interrupts.exit_code == 128 + number
