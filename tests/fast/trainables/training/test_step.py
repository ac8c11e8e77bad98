"""One step follows the gradient of the mean over all items of the batch, however it is divided."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.support.stepped import RATE, step_on
from tests.support.training_samples import Ragged, Regression, bits, build, training, worker
from trainables.config.training import Adam, AdamW, Constant, Sgd, WarmupCosine
from trainables.distributed.worker_context import WorkerContext
from trainables.training.optimizer import build_optimizer, learning_rate_factor
from trainables.training.step import OptimizerStep


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> WorkerContext:
    return worker(tmp_path_factory.mktemp("gradients"))


def test_a_batch_without_any_item_leaves_the_model_as_it_is(here):
    task = Ragged(dropout=0.0, batch_norm=False)
    model = build(task)
    before = bits(model)
    batch = {"features": torch.randn(4, 3), "target": torch.randn(4), "count": torch.zeros(4, dtype=torch.int64)}
    optimizer = build_optimizer(Sgd(), model.parameters(), RATE)
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
    optimizer = build_optimizer(Sgd(), model.parameters(), RATE)
    update = OptimizerStep(model, optimizer, lambda m, b: m(b["features"]).mean(), training(8), here)
    with pytest.raises(ValueError, match=r"for every item, shape \[items\], not reduced; got \[\]"):
        update([{"features": torch.randn(8, 3)}], RATE)


def test_a_squeeze_may_take_the_one_row_of_a_batch_with_the_rest(here):
    model = build(Regression(batch_norm=False))
    optimizer = build_optimizer(Sgd(), model.parameters(), RATE)
    update = OptimizerStep(model, optimizer, lambda m, b: m(b["features"]).square().squeeze(), training(1), here)
    _, items, _ = update([{"features": torch.randn(1, 3)}], RATE)
    assert items == 1


@pytest.mark.parametrize(
    ("config", "kind", "settings"),
    [
        (Sgd(momentum=0.5, nesterov=True, weight_decay=0.1), torch.optim.SGD, {"momentum": 0.5, "nesterov": True}),
        (Adam(beta1=0.8, epsilon=1e-4), torch.optim.Adam, {"betas": (0.8, 0.999), "eps": 1e-4}),
        (AdamW(beta2=0.95), torch.optim.AdamW, {"betas": (0.9, 0.95), "weight_decay": 0.01}),
    ],
)
def test_the_optimiser_is_the_one_that_was_asked_for(config, kind, settings):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    optimizer = build_optimizer(config, model.parameters(), 0.3)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert len(group["params"]) == 2, "what is not trained is left out"
    assert group["lr"] == 0.3
    assert {name: group[name] for name in settings} == settings


def test_a_model_with_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="no parameter to train"):
        build_optimizer(Sgd(), nn.Linear(1, 1).requires_grad_(False).parameters(), 0.1)


@given(st.floats(0, 0.99), st.floats(0, 1))
def test_warm_up_is_linear_and_the_rest_half_a_cosine(warmup, final):
    schedule = WarmupCosine(warmup_fraction=warmup, final_fraction=final)

    def at(progress):
        return learning_rate_factor(schedule, progress)

    assert at(warmup) == pytest.approx(1.0)
    assert at(1.0) == pytest.approx(final, abs=1e-9)
    assert at((1 + warmup) / 2) == pytest.approx((1 + final) / 2), "half-way down, half-way through"
    if warmup > 1e-6:
        assert at(warmup / 2) == pytest.approx(0.5)
    assert learning_rate_factor(Constant(), warmup) == 1.0
