"""A trial's result does not depend on what ran before it in the same process."""

import subprocess
import sys

import pytest

from trainables.process.isolation import Snapshot


@pytest.fixture(autouse=True)
def as_before(tmp_path):
    """Whatever a test here does not put back must not reach other tests."""
    before = Snapshot.take()
    yield
    before.restore()


GENERAL = """
import torch
from trainables.process.isolation import Snapshot
snapshot = Snapshot.take()
{before}
snapshot.restore()
torch.backends.fp32_precision = "ieee"
print(torch.backends.cudnn.conv.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision)
"""


@pytest.mark.parametrize(
    "before", ["", "torch.backends.fp32_precision = 'tf32'", "torch.set_float32_matmul_precision('medium')"]
)
def test_a_general_setting_still_rules_the_particular_ones_afterwards(before):
    """In a process of its own: torch hands a setting down only to those that were never set themselves."""
    command = [sys.executable, "-c", GENERAL.format(before=before)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["ieee", "ieee"]
