"""A small valid sweep file; each test changes the part that it tests."""

from __future__ import annotations

from pathlib import Path

from orchestrator.sweep.spec import Sweep
from orchestrator.sweepfile.load import load_sweep

GOOD = {
    "name": "small",
    "task": "digits_cnn",
    "objective": "{metric: val_accuracy}",
    "budget": "{examples: 1000}",
    "parameters": "{batch_size: {values: [16, 32]}, learning_rate: {base: 0.1, at_batch_size: 32, rule: linear}}",
    "compression": "{variants: [int8, {prune: {ratio: 0.5}}]}",
    "goals": "[{metric: val_accuracy, type: max-degradation, value: 0.01}]",
}


def sweep_text(**sections: str | None) -> str:
    """The file, with some sections replaced, added, or (None) left out."""
    merged = {key: value for key, value in {**GOOD, **sections}.items() if value is not None}
    return "".join(f"{key}: {value}\n" for key, value in merged.items())


def load_text(folder: Path, text: str | bytes) -> Sweep:
    """Load a sweep file with this content."""
    file = folder / "sweep.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_sweep(file)
