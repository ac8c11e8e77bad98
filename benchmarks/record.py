"""Writes the page of a benchmark: what it printed, below the command, commit, date and machine of its figures.

A benchmark ends with `sys.exit(recorded(main))`; run with `--record`, it writes docs/develop/benchmarks/NAME.md.
Nothing heavy is imported before that: what a process of its own costs is one of the figures.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "develop" / "benchmarks"
MEASURED = ("examples", "orchestrator", "trainables")
LOADED = 0.5  # of the cores: above, others are at work


def recorded(main: Callable[[], int | None]) -> int:
    """The exit code of `main`, whose page is written if `--record` is among the arguments."""
    if "--record" not in sys.argv:
        return main() or 0
    sys.argv.remove("--record")
    script = Path(sys.argv[0])
    command = " ".join(["python", f"benchmarks/{script.name}", *sys.argv[1:]])
    began, load = datetime.now(UTC), os.getloadavg()[0]
    printed = io.StringIO()
    with contextlib.redirect_stdout(Both(sys.stdout, printed)):
        code = main() or 0
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    facts = {
        "command": f"`{command}`",
        "commit": f"`{commit()}`",
        "date": f"{began:%Y-%m-%d %H:%M} UTC, {minutes:.1f} minutes",
        "machine": machine(),
        "load": words_on_load(load),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "mlflow", "numpy")),
        "goal": "met, or none" if code == 0 else "missed on this machine at this time",
    }
    PAGES.joinpath(f"{script.stem}.md").write_text(page(script, facts, printed.getvalue()))
    return code


def page(script: Path, facts: dict[str, str], printed: str) -> str:
    """Markdown: the first line of the script's docstring, the facts, what was printed, the rest of the docstring."""
    title, _, words = (sys.modules["__main__"].__doc__ or script.stem).strip().partition("\n")
    rows = "\n".join(f"| {name} | {fact} |" for name, fact in facts.items())
    about = f"```text\n{words.strip()}\n```\n\n" if words.strip() else ""
    return (
        f"<!-- written by benchmarks/{script.name} --record -->\n\n# `{script.name}`\n\n{title}\n\n"
        f"| | |\n|---|---|\n{rows}\n\n```text\n{printed.strip()}\n```\n\n## What it does\n\n{about}".rstrip()
        + "\n"
    )


def commit() -> str:
    """The last commit that changed what is measured, with `-dirty` where it was changed since."""
    last = ["git", "log", "-1", "--format=%h", "--", *MEASURED]
    revision = subprocess.run(last, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *MEASURED], cwd=ROOT, check=False).returncode
    return revision + ("-dirty" if changed else "")


def machine() -> str:
    import psutil
    import torch

    from trainables.outputs import cpu_name

    memory = psutil.virtual_memory().total / 2**30
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    cores = len(os.sched_getaffinity(0))
    parts = (cpu_name(), f"{cores} cores", f"{memory:.0f} GiB", ", ".join(gpus) or "no GPU")
    return f"{', '.join(parts)}; Python {platform.python_version()}"


def words_on_load(load: float) -> str:
    cores = len(os.sched_getaffinity(0))
    busy = load > LOADED * cores
    return f"{load:.1f} on {cores} cores when it began" + (
        "; **others were at work: seconds mean little**" if busy else ""
    )


class Both(io.TextIOBase):
    """What is printed goes to the terminal as well as into the page."""

    def __init__(self, *files: TextIO) -> None:
        self._files = files

    def write(self, text: str) -> int:
        for file in self._files:
            file.write(text)
            file.flush()
        return len(text)
