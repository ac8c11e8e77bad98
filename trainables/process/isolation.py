"""A clean state for every trial: seeds that say where they come from, and global settings put back as they were.

A process that runs one trial after another must give each the same result that a process of its own would give it.
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
    """The global state of this process, in the thread that takes it; it is put back from the same thread."""

    values: dict[str, Any]
    set_by_modules: dict[str, dict[str, Any]] = field(default_factory=dict)  # while they were imported

    @classmethod
    def take(cls) -> Snapshot:
        gc.collect()
        gc.freeze()  # what is here now stays for good: looking through it again would take most of `restore`
        return cls({name: read() for name, (read, _) in PROCESS_SETTINGS.items()})

    def restore(self) -> None:
        """Put every setting back, forget what torch.compile made, and give unused memory back to the system."""
        for name, (_, write) in PROCESS_SETTINGS.items():
            write(self.values[name])
        torch.compiler.reset()
        gc.collect()
        gc.freeze()  # what torch keeps of a trial (each export leaves hundreds of objects) is looked through once only
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
            give_back_pinned_memory()
            torch.cuda.reset_peak_memory_stats()

    def import_module(self, name: str) -> None:
        """After `restore`: import a user's module; what it sets meanwhile is set anew at each later call.

        So it holds for every trial, as in a process of its own. An import that fails is for `load_task` to tell.
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
