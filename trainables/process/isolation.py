"""A clean state for every trial: seeds derived from the trial, and global settings restored after it.

A process that runs one trial after another must give each trial the same result as a fresh process would.
"""

from __future__ import annotations

import gc
import importlib
import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from trainables.compat import give_back_pinned_memory
from trainables.process.process_settings import PROCESS_SETTINGS


def seed_everything(seed: int, rank: int, step: int) -> None:
    """Seed every random generator that a model or task may use; distinct for every worker and step of a trial."""
    words = np.random.SeedSequence([seed, rank, step]).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]) << 32 | int(words[3]))  # all devices' generators


@dataclass(frozen=True)
class Snapshot:
    """The global state of this process, as seen by the thread that records it; the same thread must restore it."""

    values: dict[str, Any]
    set_by_modules: dict[str, dict[str, Any]] = field(default_factory=dict)  # while they were imported

    @classmethod
    def take(cls) -> Snapshot:
        gc.collect()
        gc.freeze()  # existing objects are permanent: scanning them again would take most of the time of `restore`
        return cls({name: read() for name, (read, _) in PROCESS_SETTINGS.items()})

    def restore(self) -> None:
        """Restore every setting, clear torch.compile's caches, and return unused memory to the system."""
        for name, (_, write) in PROCESS_SETTINGS.items():
            write(self.values[name])
        torch.compiler.reset()
        gc.collect()
        gc.freeze()  # objects that torch keeps from a trial (hundreds for each export) are scanned only once
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
            give_back_pinned_memory()
            torch.cuda.reset_peak_memory_stats()

    def import_module(self, name: str) -> None:
        """After `restore`: import a user's module. Settings that it makes during its import are made again at each
        call.

        So they apply to every trial, as in a fresh process. `load_task` reports a failing import.
        """
        if name not in self.set_by_modules:
            try:
                importlib.import_module(name)
            except (Exception, SystemExit):
                return
            now = {key: read() for key, (read, _) in PROCESS_SETTINGS.items() if not key.endswith("random")}
            self.set_by_modules[name] = {key: value for key, value in now.items() if value != self.values[key]}
        for key, value in self.set_by_modules[name].items():
            PROCESS_SETTINGS[key][1](value)
