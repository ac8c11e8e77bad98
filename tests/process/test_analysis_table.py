"""From stored files to configurations: what belongs together, what is missing, what is damaged."""

from __future__ import annotations

import subprocess
import sys


def test_comparing_needs_neither_torch_nor_ray_nor_mlflow() -> None:
    code = (
        "import sys, orchestrator.analysis.comparison, orchestrator.commands.compare, orchestrator.report.page, "
        "orchestrator.report.terminal, orchestrator.report.export; "
        "print([name for name in ('torch', 'ray', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
