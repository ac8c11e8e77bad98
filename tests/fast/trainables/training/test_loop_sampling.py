"""A training on rows that are drawn by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.support.training_samples import Regression, bits, build, differing, table, training, worker
from trainables.config.training import ClassBalanced
from trainables.data.table import Table
from trainables.tasks.task_data import TaskData
from trainables.training.evaluate import evaluate
from trainables.training.loop import train


def rare(rows: int = 64) -> TaskData:
    """An eighth of the rows is of class 1."""
    part = table(rows)
    labels = (torch.arange(rows) % 8 == 0).long()
    whole = Table({**{name: part.column(name) for name in part.columns}, "label": labels})
    return TaskData(whole, whole, lambda: whole)


def test_steps_see_both_classes_alike_evaluations_see_the_data_and_resuming_is_exact(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Watched(Regression):
        def training_losses(self, outputs: Any, batch: Any) -> Any:
            seen.append(batch["label"])
            return self.losses(outputs, batch)

    def running(model: Any, folder: str) -> Any:
        settings = training(steps=16, evaluations=3, sampling=ClassBalanced())
        return train(model, Watched(), rare(), settings, worker(tmp_path / folder), checkpoint="trials/x/c.pt")

    whole = build(Watched())
    reports = list(running(whole, "whole"))
    assert torch.cat(seen).float().mean() == 0.5, "two epochs of 64 draws"
    judged = evaluate(whole, Watched(), rare().validation, worker(tmp_path))
    assert abs(reports[-1].metrics["train_loss"] - judged["loss"].value) < 1e-6
    for start, _ in enumerate(reports):
        other = build(Watched(), seed=start)
        part = running(other, "parts")
        next(part)
        part.close()
    assert differing(bits(whole), bits(other)) == []
