"""The normalisations of the built-in network, against what they are made of. Over workers: tests/process."""

import pytest
import torch
from torch import nn

from trainables.tasks.load import TaskError, load_task
from trainables.tasks.norms import GhostBatchNorm2d, SyncBatchNorm2d, norm_layer

IMAGES = torch.randn(10, 6, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def layer(norm, ghost_size=4):
    made = norm_layer(norm, 6, ghost_size).double()
    torch.manual_seed(1)
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made


def test_ghost_batch_norm_is_batch_norm_of_each_group_and_the_last_takes_the_rest():
    ghost, batch = layer("ghost"), layer("batch")
    together = ghost(IMAGES)
    apart = torch.cat([batch(IMAGES[:4]), batch(IMAGES[4:])])
    torch.testing.assert_close(together, apart, rtol=0, atol=0)
    torch.testing.assert_close(ghost.running_var, batch.running_var, rtol=0, atol=0)


@pytest.mark.parametrize(("norm", "ghost_size"), [("ghost", 10), ("ghost", 64), ("sync", 1)])
def test_one_group_or_one_worker_is_batch_norm(norm, ghost_size):
    one, other = layer(norm, ghost_size), layer("batch")
    assert torch.equal(one(IMAGES), other(IMAGES))
    assert torch.equal(one.running_mean, other.running_mean)


@pytest.mark.parametrize("norm", ["ghost", "sync"])
def test_in_evaluation_they_are_batch_norm(norm):
    one, other = layer(norm), layer("batch")
    one(IMAGES)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.eval()(IMAGES), other.eval()(IMAGES))


def test_group_norm_lets_rows_alone():
    group = layer("group")
    torch.testing.assert_close(group(IMAGES)[:3], group(IMAGES[:3]), rtol=0, atol=1e-12)


def test_kinds_are_told_apart():
    assert isinstance(norm_layer("ghost", 8, 16), GhostBatchNorm2d)
    assert isinstance(norm_layer("sync", 8, 16), SyncBatchNorm2d)
    with pytest.raises(ValueError, match="'instance' is not one of batch, ghost, sync, group"):
        norm_layer("instance", 8, 16)
    with pytest.raises(TaskError, match="batch, ghost, sync, group"):
        load_task("digits_cnn", {"norm": "instance"})
