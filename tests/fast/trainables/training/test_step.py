"""One step follows the gradient of the mean over all items of the batch, however it is divided."""

import pytest
import torch

from tests.support.stepped import RATE, step_on
from tests.support.training_samples import Ragged, Regression, bits, build, training, worker
from trainables.config.optimizers import Sgd
from trainables.distributed.worker_context import WorkerContext
from trainables.training.optimizer import build_optimizer
from trainables.training.step import OptimizerStep


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> WorkerContext:
    return worker(tmp_path_factory.mktemp("gradients"))


def test_a_batch_without_any_item_leaves_the_model_as_it_is(here):
    task = Ragged(dropout=0.0, batch_norm=False)
    model = build(task)
    before = bits(model)
    batch = {"features": torch.randn(4, 3), "target": torch.randn(4), "count": torch.zeros(4, dtype=torch.int64)}
    optimizer = build_optimizer(Sgd(), model, RATE)
    update = OptimizerStep(model, optimizer, lambda m, b: task.losses(task.forward(m, b), b), training(4), here)
    losses, items, norm = update([batch], RATE)
    assert (losses.item(), items, norm.item()) == (0.0, 0, 0.0)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("limit", [1e-3, 0.5, 1e3])
def test_clipping_bounds_the_gradient_and_keeps_its_direction(here, limit):
    task = Regression(dropout=0.0)
    free, _, _, norm = step_on(task, [8], here)
    clipped, _, _, same_norm = step_on(task, [8], here, gradient_clip_norm=limit)
    assert same_norm.item() == norm.item(), "the reading is of the gradient before clipping"
    factor = min(1.0, limit / norm.item())
    for name, gradient in free.items():
        torch.testing.assert_close(clipped[name], gradient * factor, rtol=1e-4, atol=1e-10)


def test_a_loss_that_is_already_reduced_is_refused(here):
    model = build(Regression())
    optimizer = build_optimizer(Sgd(), model, RATE)
    update = OptimizerStep(model, optimizer, lambda m, b: m(b["features"]).mean(), training(8), here)
    with pytest.raises(ValueError, match=r"for every item, shape \[items\], not reduced; got \[\]"):
        update([{"features": torch.randn(8, 3)}], RATE)


def test_a_squeeze_may_take_the_one_row_of_a_batch_with_the_rest(here):
    model = build(Regression(batch_norm=False))
    optimizer = build_optimizer(Sgd(), model, RATE)
    update = OptimizerStep(model, optimizer, lambda m, b: m(b["features"]).square().squeeze(), training(1), here)
    _, items, _ = update([{"features": torch.randn(1, 3)}], RATE)
    assert items == 1
