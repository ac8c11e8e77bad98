"""Ctrl-C and SIGTERM, really sent: what each raises, which exit code it asks for, and whose farewell is hurried."""

from __future__ import annotations

import subprocess
import sys

from orchestrator.machine import signals as interrupting


def test_a_farewell_that_gets_nowhere_ends_in_time() -> None:
    script = f"""
import os, signal, time
from orchestrator.machine import signals
signals.LIMIT_SECONDS = 0.2
with signals.heeding_signals():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        time.sleep({interrupting.LIMIT_SECONDS * 10})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 143
    assert (
        done.stderr.strip()
        == "paretune: stopped at once; MLflow may show runs as running until the same command resumes the sweep"
    )
