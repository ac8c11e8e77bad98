"""The built-in data are what they say, the same on every run, and split without overlap."""

import subprocess
import sys

from trainables.data import builtin
from trainables.data.fingerprint import fingerprint


def test_fingerprints_are_the_same_in_every_process_and_differ_between_splits():
    code = "from trainables.data.builtin import *; print(*(task_fingerprint(name) for name in ROWS))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {" ".join(builtin.task_fingerprint(name) for name in builtin.ROWS) + "\n"}
    sources = [f"builtin://{name}/{split}" for name in builtin.ROWS for split in builtin.SPLITS]
    assert len({fingerprint(source) for source in sources}) == len(sources)
