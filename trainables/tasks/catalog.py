"""The built-in tasks, with the facts that a plan needs without importing torch; a contract test compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from trainables.data import builtin

Option = bool | int | float | str


@dataclass(frozen=True)
class Builtin:
    """One built-in task. `options` are the keyword arguments of its constructor with their defaults."""

    target: str  # module:Class
    doc: str  # one line
    dataset: str  # of trainables.data.builtin
    metrics: Mapping[str, Literal["min", "max"]]
    options: Mapping[str, Option] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the options that are words

    @property
    def train_rows(self) -> Callable[[], int]:
        """How many rows the training data has."""
        return lambda: builtin.ROWS[self.dataset]["train"]

    @property
    def fingerprint(self) -> Callable[[], str]:
        """The content of the three sets of data, as 32 hexadecimal digits."""
        return lambda: builtin.task_fingerprint(self.dataset)


BUILTIN: dict[str, Builtin] = {
    "digits_cnn": Builtin(
        target="trainables.tasks.images:DigitsCnn",
        doc="8x8 images of handwritten digits (scikit-learn), 10 classes; a convolutional network",
        dataset="digits",
        metrics={"accuracy": "max"},
        options={"channels": 32, "norm": "batch", "ghost_size": 16},
        choices={"norm": ("batch", "ghost", "sync", "group")},
    ),
    "digits_transformer": Builtin(
        target="trainables.tasks.images:DigitsTransformer",
        doc="8x8 images of handwritten digits (scikit-learn), 10 classes; a small transformer over 2x2 patches",
        dataset="digits",
        metrics={"accuracy": "max"},
        options={"features": 64, "heads": 4, "layers": 3},
    ),
    "diabetes_mlp": Builtin(
        target="trainables.tasks.tabular:DiabetesMlp",
        doc="progression of diabetes in 442 patients (scikit-learn), regression; a multilayer perceptron",
        dataset="diabetes",
        metrics={"mse": "min", "mae": "min"},
        options={"features": 64, "layers": 2},
    ),
    "stdlib_gpt": Builtin(
        target="trainables.tasks.language:StdlibGpt",
        doc="the sources of Python's standard library, byte by byte; a small causal transformer",
        dataset="stdlib",
        metrics={"accuracy": "max", "bits_per_byte": "min"},
        options={"features": 64, "heads": 4, "layers": 2},
    ),
}
