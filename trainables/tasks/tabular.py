"""Tabular regression: the progression of diabetes in 442 patients, from scikit-learn.

Known answer: least squares on all patients has a mean squared error of 2859.70 (R2 0.5177).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from trainables.data.builtin import DIABETES_MEAN, DIABETES_STD
from trainables.tasks.base import Batch, Task
from trainables.tasks.layers import scaled


class DiabetesMlp(Task):
    """Columns: features float32 [10], standardised; target float32, as published (25 to 346). An item is a patient.

    The model predicts the target standardised, and the loss is its squared error; `mse` and `mae` are in the
    published units.
    """

    train = "builtin://diabetes/train"
    validation = "builtin://diabetes/validation"
    test = "builtin://diabetes/test"
    inputs = ("features",)
    metrics: ClassVar[Mapping[str, Literal["min", "max"]]] = {"mse": "min", "mae": "min"}

    def __init__(self, features: int = 64, layers: int = 2) -> None:
        self.features, self.layers = features, layers

    def build_model(self, width: float = 1.0) -> nn.Module:
        features = scaled(self.features, width)
        layers: list[nn.Module] = [nn.Linear(10, features), nn.ReLU()]
        for _ in range(self.layers - 1):
            layers += [nn.Linear(features, features), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(features, 1), nn.Flatten(0))

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return (outputs - (batch["target"] - DIABETES_MEAN) / DIABETES_STD).square()

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        error = outputs * DIABETES_STD + DIABETES_MEAN - batch["target"]
        return {"mse": error.square(), "mae": error.abs()}
