"""What all tests need: to be repeatable on a machine that is busy with other things."""

import os
import signal

import pytest
from hypothesis import settings

# The models here are so small that a second thread only waits; child processes inherit this too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says nothing about whether it is right.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# Started in the background, a shell has Ctrl-C ignored, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes many minutes, and hardly ever breaks alone, is for the night."""
    if os.environ.get("PARETUNE_NIGHTLY") == "1":
        return
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.skip(reason="nightly: `make nightly`, or PARETUNE_NIGHTLY=1"))
