"""Which columns a task reads is told by its code, or it is said that the code does not tell."""

import numpy as np
import pytest
import torch
from torch import nn

from trainables.tasks.base import Task
from trainables.tasks.columns_read import columns_of


class Plain(Task):
    inputs = ("x",)

    def build_model(self, width: float = 1.0) -> nn.Module:
        return nn.Linear(1, 1)

    def losses(self, outputs, batch):
        return (outputs - batch["label"]).square()


class WithScores(Plain):
    columns = ("row_id",)

    def scores(self, outputs, batch):
        weight = 1
        if "weight" in batch:
            weight = batch["weight"].float()
        return {"hits": outputs * weight, "bias": batch.get("bias", 0)}


class OverInputs(Plain):
    inputs = ("a", "b")

    def forward(self, model, batch):
        rest = [batch[column] for column in self.inputs[1:]]
        return model(torch.stack([batch[name].float() for name in self.inputs] + rest, 1))


class OwnMethods(Plain):
    def losses(self, outputs, batch):
        return super().losses(outputs, batch) * self.weight(0.5, batch)

    def weight(self, factor, rows):
        return factor * rows["weight"]


class Augments(Plain):
    def training_batch(self, batch):
        if self.inputs:
            return {**batch, "x": batch["x"] + batch["noise"]}
        return batch


class Iterates(Plain):
    def forward(self, model, batch):
        return model(torch.stack([column for name, column in batch.items() if name != "label"], 1))


class Computes(Plain):
    def losses(self, outputs, batch):
        return outputs - batch[f"label_{len(self.inputs)}"]


class HandsOn(Plain):
    def losses(self, outputs, batch):
        return np.sum(batch)


class Decorated(Plain):
    @torch.no_grad()
    def scores(self, outputs, batch):
        return {"hits": batch["hits"]}


class NamesTheRest(Computes):
    columns = ("label_1",)


class Renames(Plain):
    def losses(self, outputs, batch):
        rows = batch
        return rows["other"]


class FromAttribute(Plain):
    losses = staticmethod(lambda outputs, batch: outputs - batch["label"])


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        (Plain, {"x", "label"}),
        (WithScores, {"x", "label", "row_id", "weight", "bias"}),
        (OverInputs, {"a", "b", "label"}),
        (OwnMethods, {"x", "label", "weight"}),
        (Augments, {"x", "label", "noise"}),
        (NamesTheRest, {"x", "label_1"}),
    ],
)
def test_columns_that_are_written_out_are_known(task: type[Task], columns: set[str]) -> None:
    assert columns_of(task()) == columns


@pytest.mark.parametrize("task", [Iterates, Computes, HandsOn, Decorated, Renames, FromAttribute])
def test_a_batch_that_is_used_in_any_other_way_may_be_read_whole(task: type[Task]) -> None:
    assert columns_of(task()) is None


def test_a_method_that_is_set_on_the_task_itself_is_not_looked_through() -> None:
    task = Plain()
    task.losses = lambda outputs, batch: batch["other"]  # type: ignore[method-assign]
    assert columns_of(task) is None


def test_the_built_in_tasks_read_all_that_they_have() -> None:
    from trainables.tasks.images import DigitsCnn
    from trainables.tasks.language import StdlibGpt
    from trainables.tasks.tabular import DiabetesMlp

    assert columns_of(DigitsCnn()) == {"image", "label"}
    assert columns_of(DiabetesMlp()) == {"features", "target"}
    assert columns_of(StdlibGpt()) == {"bytes", "next_bytes"}
