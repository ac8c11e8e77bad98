"""The normalisations of the built-in network, against what they are made of. Over workers: tests/process."""

import copy

import pytest
import torch

from trainables.compression.prune import prune
from trainables.config.compression import Prune
from trainables.tasks.load import load_task


@pytest.mark.parametrize("norm", ["ghost", "sync", "group"])
def test_networks_with_them_can_be_exported_and_pruned(norm):
    torch.manual_seed(0)
    model = load_task("digits_cnn", {"norm": norm, "channels": 16}).build_model().eval()
    images = torch.randn(4, 1, 8, 8)
    program = torch.export.export(copy.deepcopy(model), (images,))
    torch.testing.assert_close(program.module()(images), model(images))
    pruned = prune(model, Prune(ratio=0.5, round_to=8), (images,)).model
    assert sum(p.numel() for p in pruned.parameters()) < 0.85 * sum(p.numel() for p in model.parameters())
    assert pruned(images).shape == (4, 10)
