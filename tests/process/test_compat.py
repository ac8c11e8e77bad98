"""What trainables/compat.py has of torch.compile."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainables import compat


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_compiled_model_is_known() -> None:
    assert isinstance(torch.compile(nn.Linear(1, 1)), compat.OptimizedModule)
    assert not isinstance(nn.Linear(1, 1), compat.OptimizedModule)
