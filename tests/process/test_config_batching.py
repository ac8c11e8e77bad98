"""The arithmetic of batches: exact, without torch, and the same for every worker."""

import subprocess
import sys


def test_a_plan_can_use_it_without_torch():
    code = "import sys, trainables.config.batching; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
