"""Small models, and the steps of the dry run tried on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from orchestrator.diagnostics.task_needs import Requirements
from orchestrator.task_facts.dry_run_steps import Attempt
from tests.support.training_samples import Regression, table
from trainables.data.table import Table
from trainables.tasks.task_data import TaskData


class Simple(Regression):
    """Three features, one number; subclasses change what is tried."""

    def __init__(self, **_: Any) -> None:
        super().__init__(dropout=0.0, batch_norm=False)


def tried(task: Any, folder: Path, data: Table | None = None, **requirements: Any) -> Attempt:
    """Data of its rows are those of `table`, unless others are given."""
    tables = [data or table(3, seed=seed) for seed in range(3)]
    attempt = Attempt(
        task, TaskData(tables[0], tables[1], lambda: tables[2]), lambda _: (), Requirements(**requirements), folder
    )
    attempt.baseline()
    return attempt


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 1)
