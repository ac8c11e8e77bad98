"""A clean state for every trial: seeds that say where they come from, and global settings put back as they were."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_everything(seed: int, rank: int, step: int) -> None:
    """Seed every random generator that a model or task may use; distinct for every worker and step of a trial."""
    words = np.random.SeedSequence([seed, rank, step]).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]) << 32 | int(words[3]))  # all devices' generators
