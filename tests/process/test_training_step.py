"""One step follows the gradient of the mean over all items of the batch, however it is divided."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stepped import step_on
from tests.support.training_samples import Ragged, Regression, build, table, worker
from trainables.distributed.worker_context import WorkerContext


def full_gradient(task, rows):
    """What PyTorch gives for the mean loss over all items of the batch at once."""
    whole = table(rows, dtype=torch.float64)
    batch = {name: whole.column(name) for name in whole.columns}
    model = build(task, dtype=torch.float64)
    loss = task.losses(task.forward(model, batch), batch).mean()
    loss.backward()
    return {name: value.grad for name, value in model.named_parameters()}, loss


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> WorkerContext:
    return worker(tmp_path_factory.mktemp("gradients"))


@pytest.mark.parametrize("kind", [Regression, Ragged])
@given(chunks=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_unequal_micro_batches_give_the_gradient_of_the_full_batch(here, kind, chunks):
    task = kind(dropout=0.0, batch_norm=False)
    rows = table(sum(chunks), dtype=torch.float64)
    if kind is Ragged and not rows.column("count").sum():
        return  # no item, no gradient to compare
    moved, losses, items, norm = step_on(task, chunks, here)
    expected, loss = full_gradient(task, sum(chunks))
    for name, gradient in expected.items():
        torch.testing.assert_close(moved[name], gradient, rtol=0, atol=1e-10)
    assert losses.item() / items == pytest.approx(loss.item(), abs=1e-10)
    assert norm.item() == pytest.approx(math.sqrt(sum(g.square().sum() for g in expected.values())), abs=1e-10)
