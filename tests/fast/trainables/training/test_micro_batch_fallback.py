"""A trial whose micro-batch does not fit is divided anew, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.training_samples import training, worker
from trainables.config.optimizers import Adam, AdamW, Optimizer, Sgd
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.results import Report, TrialResult
from trainables.training.data_parallel import _stand_ins
from trainables.training.micro_batch_record import next_division
from trainables.training.optimizer import build_optimizer
from trainables.trial import run_trial

HUNGRY = TaskConfig(name="tests.support.hungry:Hungry", data="of the test", code="of the test")


def trial(folder: Path, most_rows: int, after_steps: int = 0, **changes: Any) -> tuple[list[Report], TrialResult]:
    options = {"most_rows": most_rows, "after_steps": after_steps}
    settings = training(**{"batch_size": 24, "steps": 12, "evaluations": 3, "learning_rate": 0.02} | changes)
    task = HUNGRY.model_copy(update={"options": options})
    *reports, result = run_trial("0123456789ab", BaselineConfig(task=task, training=settings), worker(folder))
    assert isinstance(result, TrialResult)
    return [report for report in reports if isinstance(report, Report)], result


def test_what_fits_is_left_as_planned(tmp_path: Path) -> None:
    _, result = trial(tmp_path, most_rows=24)
    assert result.warnings == ()
    assert result.metrics["micro_batch_size"].value == 24
    assert result.metrics["micro_batch_size"].note == "as planned"


@pytest.mark.parametrize(
    ("optimizer", "kept"), [(Sgd(momentum=0.0), 0), (Sgd(momentum=0.9), 1), (Adam(), 2), (AdamW(), 2)]
)
def test_room_is_reserved_for_what_an_optimizer_does_not_hold_yet(optimizer: Optimizer, kept: int) -> None:
    """Beside one copy for the buckets; after a resumption the optimiser's numbers are there already."""
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad_(False)  # is not trained, so nothing is kept of it
    fresh, resumed = (build_optimizer(optimizer, model, 0.1) for _ in range(2))
    assert [one.shape for one in _stand_ins(model, fresh)] == [model.weight.shape] * (1 + kept)
    model(torch.ones(1, 3)).sum().backward()
    fresh.step()
    resumed.load_state_dict(fresh.state_dict())
    assert len(_stand_ins(model, fresh)) == len(_stand_ins(model, resumed)) == 1


def test_divisions_keep_the_batch() -> None:
    planned = training(90, num_workers=2)  # 45 rows a worker
    seen = []
    while planned is not None:
        assert planned.micro_batch_size * planned.accumulation_steps * 2 == 90
        seen.append(planned.micro_batch_size)
        planned = next_division(planned)
    assert seen == [45, 15, 5, 1]
