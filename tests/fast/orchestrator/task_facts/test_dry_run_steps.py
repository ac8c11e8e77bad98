"""All that a trial and its variants will do is done with a task before any of them: what stands in the way is told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from orchestrator.task_facts.dry_run_steps import NotTriedError
from orchestrator.task_facts.dry_run_variants import VariantFindings, try_variants
from tests.support.training_samples import table
from tests.support.tried_task import Simple, Wrapped, tried
from trainables.config.compression import Distill
from trainables.config.optimizers import CustomOptimizer, Muon
from trainables.data.table import Table
from trainables.tasks.load import TaskError
from trainables.tasks.parameter_group import ParameterGroup


class Grid(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        ys, xs = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
        self.register_buffer("ys", ys)
        self.register_buffer("xs", xs)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.inner(x + self.ys[0] + self.xs[0])
        return outputs


class LateTable(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "positions"):
            self.register_buffer("positions", torch.arange(float(x.shape[1])))
        outputs: Tensor = self.inner(x + self.positions)
        return outputs


@pytest.mark.parametrize("model", [Grid, LateTable])
def test_expanded_and_late_buffers_are_no_hindrance(tmp_path: Path, model: type[nn.Module]) -> None:
    class Own(Simple):
        def build_model(self, width: float = 1.0) -> nn.Module:
            return model()

    attempt = tried(Own(), tmp_path, num_workers=2, compresses=True, chains=((Distill(),),))
    assert Path(attempt.file().model).exists()
    assert try_variants(attempt, math.inf) == VariantFindings((), ())


class ByBatch(Wrapped):
    """Its only state has the shape of the last batch."""

    def forward(self, x: Tensor) -> Tensor:
        self.register_buffer("seen", x.detach().clone())
        outputs: Tensor = self.inner(x)
        return outputs


class Forgetful(Wrapped):
    """What it learns of its inputs is in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = x.detach().mean(0) + 1
        outputs: Tensor = self.inner(x - self.mean)
        return outputs


class Shared(Wrapped):
    """A weight that was expanded: a step cannot write to it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1).expand(3))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.inner(x * self.scale)
        return outputs


class Whole(Wrapped):
    """Of whole numbers, which no gradient can be exchanged for."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(2, dtype=torch.uint16))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.inner(x)
        return outputs


HINDRANCES = {
    ByBatch: r"model cannot be loaded again after its state was saved.*size mismatch for seen",
    Forgetful: r"model cannot be loaded again.*loaded into a model built anew, it gives other losses",
    Shared: r"model cannot be loaded again.*: a parameter was expanded.*\.clone\(\)",
    Whole: r"model cannot be trained by several workers: ",
}


@pytest.mark.parametrize("model", HINDRANCES)
def test_what_would_end_a_training_or_lose_it_is_told(tmp_path: Path, model: type[nn.Module]) -> None:
    class Own(Simple):
        def build_model(self, width: float = 1.0) -> nn.Module:
            return model()

    with pytest.raises(TaskError, match=HINDRANCES[model]):
        tried(Own(), tmp_path, num_workers=2)


def test_numbers_of_another_type_are_told_with_their_column_unless_the_precision_takes_them(tmp_path: Path) -> None:
    rows = table(3)
    halves = Table(
        {name: rows.column(name).half() if name == "features" else rows.column(name) for name in rows.columns}
    )
    tried(Simple(), tmp_path, halves, precisions=("bfloat16",))
    words = (
        r"its numbers are not all of one type \('features' is float16.*convert them in forward\(\), as .*\.float\(\)"
    )
    for precisions in (("float32",), ("bfloat16", "float32")):
        with pytest.raises(TaskError, match=words):
            tried(Simple(), tmp_path, halves, precisions=precisions)


class Contrastive(Simple):
    """The other rows of a batch are the negatives, and the outputs are [rows, rows]."""

    def forward(self, model: nn.Module, batch: Any) -> Tensor:
        parts: Tensor = model(batch["features"])
        return parts @ parts.T

    def losses(self, outputs: Tensor, batch: Any) -> Tensor:
        own = torch.arange(len(outputs))
        rows = nn.functional.cross_entropy(outputs, own, reduction="none")
        return rows + nn.functional.cross_entropy(outputs.T, own, reduction="none")

    def scores(self, outputs: Tensor, batch: Any) -> dict[str, Tensor]:
        return {"absolute_error": outputs.diagonal()}


class Relative(Simple):
    """Its outputs are [rows, ...], and of the batch all the same."""

    def forward(self, model: nn.Module, batch: Any) -> Tensor:
        outputs: Tensor = model(batch["features"])
        return outputs - outputs.mean(0)


@pytest.mark.parametrize("task", [Contrastive, Relative])
def test_a_loss_over_the_batch_can_be_trained_and_not_measured(tmp_path: Path, task: type[Simple]) -> None:
    attempt = tried(task(), tmp_path)
    with pytest.raises(TaskError, match="cannot be compressed: what it computes for a row depends on the other rows"):
        attempt.file()


def test_rows_that_only_the_loss_relates_can_be_measured_as_the_refusal_says(tmp_path: Path) -> None:
    class Related(Contrastive):
        def forward(self, model: nn.Module, batch: Any) -> Tensor:
            outputs: Tensor = model(batch["features"])
            return outputs

        def losses(self, outputs: Tensor, batch: Any) -> Tensor:
            return super().losses(outputs @ outputs.T, batch)

        def scores(self, outputs: Tensor, batch: Any) -> dict[str, Tensor]:
            return super().scores(outputs @ outputs.T, batch)

    tried(Related(), tmp_path).file()


def test_a_shortage_on_this_machine_says_nothing_of_the_task(tmp_path: Path) -> None:
    class Own(Simple):
        def build_model(self, width: float = 1.0) -> nn.Module:
            raise RuntimeError("CUDA error: no device")

    with pytest.raises(NotTriedError):
        tried(Own(), tmp_path)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (
            {"training_losses": lambda self, outputs, batch: self.losses(outputs, batch).mean()},
            r"training_losses\(\) must give one value per item, shape \[items\]; got shape \[\]",
        ),
        (
            {"training_losses": lambda self, outputs, batch: self.losses(outputs.detach(), batch)},
            r"training_losses\(\) does not depend on any parameter of the model",
        ),
        (
            {"training_batch": lambda self, batch: {name: column[:1] for name, column in batch.items()}},
            r"training_batch\(\) must give a dict of columns, each with the \d+ rows given",
        ),
    ],
)
def test_a_training_loss_that_cannot_be_is_told_by_its_name(tmp_path: Path, method: Any, words: str) -> None:
    task = type("Own", (Simple,), method)()
    with pytest.raises(TaskError, match=words):
        tried(task, tmp_path)


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        ({"optimizers": (Muon(),)}, "muon trains the matrices of hidden layers, and this model has none"),
        ({"no_decay": ((), ("haed",))}, "no_decay names 'haed', and no parameter is called so"),
        ({"optimizers": (CustomOptimizer(factory="torch.optim:Nadam"),)}, "torch.optim has no function or class"),
        (
            {"optimizers": (CustomOptimizer(factory="torch.optim:LBFGS"),)},
            "parameters cannot be trained as the sweep asks: TypeError: .*closure",
        ),
    ],
)
def test_what_the_sweep_asks_of_the_parameters_is_tried(tmp_path: Path, requirements: Any, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        tried(Shallow(), tmp_path, **requirements)


def test_parameters_that_a_task_leaves_out_of_its_groups_are_told(tmp_path: Path) -> None:
    class Own(Simple):
        def parameter_groups(self, model: Any) -> Any:
            return [ParameterGroup(model[0].parameters())]

    with pytest.raises(TaskError, match=r"Own.parameter_groups\(\) leaves out 4.weight, 4.bias; each parameter is in"):
        tried(Own(), tmp_path)


class Shallow(Simple):
    def build_model(self, width: float = 1.0) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 1))
