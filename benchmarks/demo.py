"""What the demo prints: `paretune run examples/digits.yaml`, with nothing kept from earlier runs.

The README quotes this page.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from record import ROOT, recorded


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(
            ROOT / "examples", Path(folder, "examples"), ignore=shutil.ignore_patterns("data", "__pycache__")
        )
        command = [sys.executable, "-m", "orchestrator", "run", "examples/digits.yaml"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as demo:
            assert demo.stdout is not None
            for line in demo.stdout:
                print(line, end="")
    return demo.returncode


if __name__ == "__main__":
    sys.exit(recorded(main))
