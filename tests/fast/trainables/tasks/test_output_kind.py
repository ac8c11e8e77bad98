"""What is class scores and what is numbers is told by a task's loss and its labels, never by sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.training_samples import Regression
from trainables.compression.distill import blended
from trainables.config.compression import Distill
from trainables.tasks.output_kind import Outputs, OutputsError, what_outputs_are

ROWS = 6
Batch = Mapping[str, Tensor]
Losses = Callable[[Tensor, Batch], Tensor]

COLUMNS = {
    "label": torch.arange(ROWS) % 2,
    "byte": (torch.arange(ROWS) % 2).to(torch.uint8),
    "class as float": (torch.arange(ROWS) % 2).float(),
    "one hot": F.one_hot(torch.arange(ROWS) % 4, 4).float(),
    "shares": torch.softmax(torch.randn(ROWS, 4), 1),
    "several labels": torch.arange(ROWS * 4).reshape(ROWS, 4) % 2,
    "latitude": torch.randn(ROWS),
    "longitude": torch.randn(ROWS),
    "weight": torch.rand(ROWS) + 0.5,
    "mask": torch.arange(ROWS * 20).reshape(ROWS, 4, 5) % 3,
    "square mask": torch.arange(ROWS * 9).reshape(ROWS, 3, 3) % 3,
    "tokens": torch.arange(ROWS * 7).reshape(ROWS, 7) % 7,
    "image": torch.randn(ROWS, 3, 4, 5),
}


def cross_entropy(name: str, **settings: float) -> Losses:
    """As everybody writes it, classes in the second dimension."""

    def losses(outputs: Tensor, batch: Batch) -> Tensor:
        label = batch[name] if batch[name].shape == outputs.shape else batch[name].long()
        return F.cross_entropy(outputs, label, reduction="none", **settings).flatten()

    return losses


def both_columns(outputs: Tensor, batch: Batch) -> Tensor:
    return (outputs - torch.stack([batch["latitude"], batch["longitude"]], 1)).square().mean(1)


def next_token(outputs: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, -2), batch["tokens"].flatten(), reduction="none")


CASES: dict[str, tuple[list[int], Losses, Outputs]] = {
    "one integer label": ([ROWS, 2], cross_entropy("label"), Outputs(1, 1)),
    "smoothed in the loss": ([ROWS, 2], cross_entropy("label", label_smoothing=0.1), Outputs(1, 1)),
    "an unsigned label": ([ROWS, 2], cross_entropy("byte"), Outputs(1, 1)),
    "a class that pandas made a float": ([ROWS, 2], cross_entropy("class as float"), Outputs(1, 1)),
    "weighted rows": ([ROWS, 2], lambda o, b: cross_entropy("label")(o, b) * b["weight"], Outputs(1, 1)),
    "one-hot labels": ([ROWS, 4], cross_entropy("one hot"), Outputs(1, 1)),
    "labels that are distributions": ([ROWS, 4], cross_entropy("shares"), Outputs(1, 1)),
    "a margin": ([ROWS, 2], lambda o, b: F.multi_margin_loss(o, b["label"], reduction="none"), Outputs(1, 1)),
    "shares as numbers": ([ROWS, 4], lambda o, b: (o - b["shares"]).square().mean(1), Outputs(None, 1)),
    "several labels": (
        [ROWS, 4],
        lambda o, b: F.binary_cross_entropy_with_logits(o, b["several labels"].float(), reduction="none").mean(1),
        Outputs(None, 1),
    ),
    "two float columns": ([ROWS, 2], both_columns, Outputs(None, 1)),
    "one number": ([ROWS], lambda o, b: (o - b["latitude"]).abs(), Outputs(None, 1)),
    "a mean and a variance": (
        [ROWS, 2],
        lambda o, b: F.gaussian_nll_loss(o[:, 0], b["latitude"], o[:, 1].exp(), reduction="none"),
        Outputs(None, 1),
    ),
    "a segmentation, by pixel": ([ROWS, 3, 4, 5], cross_entropy("mask"), Outputs(1, 3)),
    "as many classes as pixels": ([ROWS, 3, 3, 3], cross_entropy("square mask"), Outputs(1, 3)),
    "a segmentation, by row": (
        [ROWS, 3, 4, 5],
        lambda o, b: cross_entropy("mask")(o, b).view(ROWS, -1).mean(1),
        Outputs(1, 1),
    ),
    "an image, by row": ([ROWS, 3, 4, 5], lambda o, b: (o - b["image"]).square().mean((1, 2, 3)), Outputs(None, 1)),
    "an image, by value": ([ROWS, 3, 4, 5], lambda o, b: (o - b["image"]).abs().flatten(), Outputs(None, 4)),
    "a language model": ([ROWS, 7, 11], next_token, Outputs(2, 2)),
    "as many tokens as words": ([ROWS, 7, 7], next_token, Outputs(2, 2)),
    "a flattened language model": ([ROWS * 7, 11], next_token, Outputs(1, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_outputs_are_is_told_by_the_loss_and_its_labels(case: str) -> None:
    shape, losses, expected = CASES[case]
    torch.manual_seed(0)
    assert what_outputs_are(losses, torch.randn(shape), COLUMNS) == expected


REFUSED: dict[str, tuple[list[int], Losses, str]] = {
    "an integer that is predicted as a distribution of numbers": (
        [ROWS, 2],
        lambda o, b: F.gaussian_nll_loss(o[:, 0], b["label"], o[:, 1].exp(), reduction="none"),
        r"outputs of shape \[6, 2\], and losses\(\) reads label \(int64 \[6\]\)",
    ),
    "no label at all": ([ROWS, 4], lambda o, _: o.square().mean(1), r"losses\(\) reads no column"),
    "a loss that ignores all": ([ROWS, 2, 2], lambda o, b: 0 * o.mean((1, 2)) * b["latitude"], "is not determined"),
    "a difference of numbers": (
        [ROWS, 2],
        lambda o, b: (o[:, 0] - o[:, 1] - b["mask"].float().mean()).abs(),
        "is not determined",
    ),
    "fewer losses than items": ([ROWS, 7, 11], lambda o, b: next_token(o, b).view(ROWS, 7)[:, 1:].flatten(), "36 loss"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_told_is_refused_with_the_way_out(case: str) -> None:
    shape, losses, words = REFUSED[case]
    torch.manual_seed(0)
    with pytest.raises(OutputsError, match=rf"{words}.*override distillation_losses\(\)"):
        what_outputs_are(losses, torch.randn(shape), COLUMNS)


def test_asking_draws_no_random_numbers_and_keeps_no_gradients() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(ROWS, 2, requires_grad=True)
    before = torch.get_rng_state()
    what_outputs_are(lambda o, b: cross_entropy("label")(o + torch.randn(ROWS, 1), b), outputs, COLUMNS)
    assert torch.equal(torch.get_rng_state(), before)
    assert outputs.grad is None


@pytest.mark.parametrize("case", ["a segmentation, by pixel", "a segmentation, by row", "an image, by row"])
def test_the_loss_from_the_teacher_has_the_shape_of_the_task_s_own(case: str) -> None:
    shape, losses, expected = CASES[case]
    task = Regression()
    task.losses = losses  # type: ignore[method-assign]
    torch.manual_seed(0)
    student, teacher = torch.randn(shape), torch.randn(shape)
    found = task.distillation_losses(student, teacher, COLUMNS, 2.0)
    assert found.shape == losses(student, COLUMNS).shape
    if expected.classes is None:
        torch.testing.assert_close(found, (student - teacher).square().flatten(1).mean(1))
    else:
        p, q = (torch.softmax(outputs / 2, 1) for outputs in (teacher, student))
        by_pixel = 4 * (p * (p / q).log()).sum(1)
        wanted = by_pixel.flatten() if expected.item_dims == 3 else by_pixel.flatten(1).mean(1)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_model_is_distilled_as_two_numbers_where_its_targets_are_two_columns() -> None:
    task = Regression()
    task.losses = both_columns  # type: ignore[method-assign]
    task.inputs = ("x",)  # type: ignore[misc]
    torch.manual_seed(0)
    teacher, student = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    batch = {**COLUMNS, "x": torch.randn(ROWS, 3)}
    own = (student(batch["x"]) - teacher(batch["x"])).square().mean(1)
    torch.testing.assert_close(blended(teacher, task, Distill(alpha=1.0))(student, batch), own)
