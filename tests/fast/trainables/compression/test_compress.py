"""Training within a chain, distillation, quantisation, on models small enough to know the answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.compressed import context, drained, of, size
from tests.support.training_samples import Regression, Tied, tokens
from trainables.compression.compress import CompressedModel, apply, ran_out_of_memory
from trainables.compression.distill import blended
from trainables.compression.errors import CompressionError
from trainables.compression.fine_tune import derive, train_on
from trainables.compression.quantize import choose_mode, quantize
from trainables.config.batching import steps_for
from trainables.config.compression import Distill, FineTune, Int8, Prune
from trainables.config.training import Budget
from trainables.config.trial import TaskConfig, VariantConfig
from trainables.data.table import Table
from trainables.measure.artifact import ArtifactError
from trainables.measure.client import MeasureError
from trainables.tasks.load import load_task
from trainables.tasks.task_data import TaskData

# -- training within a chain ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.57, 0.29])
@pytest.mark.parametrize(("unit", "amount"), [("steps", 100), ("examples", 1600), ("epochs", 25)])
def test_part_of_a_budget_is_exact(unit: str, amount: float, fraction: float, tmp_path: Path) -> None:
    """A hundred steps in each unit. In binary, 0.57 and 0.29 of them are a little less than 57 and 29."""
    here = context(tmp_path, budget=Budget(unit=unit, amount=amount))  # type: ignore[arg-type]
    assert steps_for(derive(here, fraction, 1.0).budget, 16, here.data.train.n_rows) == round(100 * fraction)


def test_readings_of_later_methods_go_on_counting(tmp_path: Path) -> None:
    here = context(tmp_path)
    model = here.task.build_model()
    first, trained = drained(train_on(lambda: model, here, here.training, "trials/x/step0.pt", ()))
    second, again = drained(train_on(lambda: model, here, here.training, "trials/x/step1.pt", trained.history))
    whole = again.history
    assert whole == (*first, *second)
    steps = [report.step for report in whole]
    assert steps == sorted(set(steps))
    assert steps[-1] == 2 * first[-1].step
    assert whole[-1].examples == 2 * first[-1].examples
    assert whole[-1].seconds > first[-1].seconds


# -- distillation -----------------------------------------------------------------------------------------------------


def test_distillation_loss_is_the_divergence_of_the_softened_outputs() -> None:
    task = load_task("digits_cnn", {}, ())
    torch.manual_seed(0)
    student, teacher, batch = torch.randn(5, 10), torch.randn(5, 10), {"label": torch.arange(5)}
    for temperature in (1.0, 3.0):
        p, q = (torch.softmax(outputs.double() / temperature, 1) for outputs in (teacher, student))
        expected = temperature**2 * (p * (p / q).log()).sum(1)
        torch.testing.assert_close(
            task.distillation_losses(student, teacher, batch, temperature).double(), expected, atol=1e-5, rtol=1e-5
        )
    assert torch.allclose(task.distillation_losses(student, student, batch, 2.0), torch.zeros(5), atol=1e-5)


def test_gradient_of_a_hot_distillation_loss_is_that_of_half_the_squared_difference() -> None:
    """Hinton et al. 2015, section 2.1: at high temperature, with zero means, it is (student - teacher) / classes."""
    task = load_task("digits_cnn", {}, ())
    torch.manual_seed(0)
    student, teacher = (outputs - outputs.mean(1, keepdim=True) for outputs in (torch.randn(4, 10), torch.randn(4, 10)))
    student.requires_grad_()
    task.distillation_losses(student, teacher, {"label": torch.arange(4)}, 1000.0).sum().backward()
    torch.testing.assert_close(student.grad, (student - teacher).detach() / 10, atol=2e-3, rtol=2e-2)


def test_numbers_are_distilled_by_their_squared_difference() -> None:
    task = Regression()
    student, teacher, batch = torch.randn(6, 1), torch.randn(6, 1), {"target": torch.randn(6)}
    torch.testing.assert_close(
        task.distillation_losses(student, teacher, batch, 9.0), (student - teacher).square().flatten()
    )


@pytest.mark.parametrize("name", ["digits_cnn", "digits_transformer", "diabetes_mlp", "stdlib_gpt"])
def test_every_task_has_as_many_distillation_losses_as_losses(name: str, tmp_path: Path) -> None:
    task = load_task(name, {}, ())
    model = task.build_model().eval()
    rows = 3
    batch: dict[str, Tensor] = {
        "image": torch.rand(rows, 1, 8, 8),
        "label": torch.arange(rows),
        "features": torch.randn(rows, 10),
        "target": torch.randn(rows),
        "bytes": torch.zeros(rows, 64, dtype=torch.uint8),
        "next_bytes": torch.zeros(rows, 64, dtype=torch.uint8),
    }
    own = task.losses(task.forward(model, batch), batch)
    for alpha in (0.0, 0.3, 1.0):
        blend = blended(model, task, Distill(alpha=alpha))(model, batch)
        torch.testing.assert_close(blend, (1 - alpha) * own, atol=1e-4, rtol=1e-4)  # the student is its own teacher


# -- quantisation -----------------------------------------------------------------------------------------------------


def test_mode_is_chosen_by_looking_at_the_model() -> None:
    perceptron, convolution = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Conv1d(1, 1, 1), nn.Linear(2, 2))
    assert choose_mode(perceptron, Int8()) == "dynamic"
    assert choose_mode(convolution, Int8()) == "static"
    assert choose_mode(perceptron, Int8(mode="static")) == "static"
    assert choose_mode(convolution, Int8(mode="dynamic")) == "dynamic"


def test_weight_shared_with_an_embedding_is_left_alone(tmp_path: Path) -> None:
    """Its 8-bit copy would stand beside the original, and make the file bigger."""

    model = Tied()
    table = Table({"tokens": tokens(20)[0]})
    data = TaskData(table, table, lambda: table)
    quantized = quantize(model, Int8(), of(model, data, ("tokens",), tmp_path))
    assert quantized.converted_fraction == pytest.approx(2 * 16 * 32 / size(model))


def test_nothing_to_convert_is_an_error(tmp_path: Path) -> None:

    table = Table({"tokens": tokens(20)[0]})
    data = TaskData(table, table, lambda: table)
    model = nn.Embedding(50, 4)
    with pytest.raises(CompressionError, match=r"int8 \(dynamic\) converted nothing.*use prune or distill"):
        quantize(model, Int8(), of(model, data, ("tokens",), tmp_path))


@pytest.mark.parametrize("method", [Prune(), Int8(), FineTune()], ids=lambda method: method.method)
def test_model_that_cannot_be_copied_is_named(method: Prune | Int8 | FineTune, tmp_path: Path) -> None:
    given = context(tmp_path)
    model = given.task.build_model()
    model.last = model(torch.randn(2, 3))  # type: ignore[assignment]
    config = VariantConfig(
        task=TaskConfig(name="x", data="", code=""), parent="p", training=given.training, chain=(method,)
    )
    with pytest.raises(ArtifactError, match="Sequential cannot be copied: Only Tensors"):
        list(apply("trial", config, given, CompressedModel(model)))


@pytest.mark.parametrize(
    ("said", "is_memory"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("RuntimeError: CUDA error: out of memory", True),
        ("MemoryError", True),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 EiB", True),
        ("terminate called after throwing an instance of 'std::bad_alloc'", True),
        ("torch._inductor.exc.InductorError: CppCompileError", False),
    ],
)
def test_an_end_for_want_of_memory_is_known_by_its_words(said: str, is_memory: bool) -> None:
    assert ran_out_of_memory(MeasureError("measuring failed", f"Traceback\n{said}\n")) is is_memory
    assert ran_out_of_memory(MeasureError(f"measuring failed: {said}")) is is_memory
