"""What all tests need: to be repeatable on a machine that is busy with other things."""

import os
import signal

from hypothesis import settings

# The models here are so small that a second thread only waits; child processes inherit this too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says nothing about whether it is right.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# Started in the background, a shell has Ctrl-C ignored, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
