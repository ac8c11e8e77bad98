"""A training ends when its validation loss has not improved for so many evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.looped import run
from tests.support.training_samples import Regression, bits, build, differing, tables, training, worker
from trainables.results import Report
from trainables.training.loop import has_stalled, train


def history(*losses: float) -> list[Report]:
    return [Report(step=i, examples=i, seconds=1.0, metrics={"val_loss": loss}) for i, loss in enumerate(losses, 1)]


@pytest.mark.parametrize(
    ("losses", "patience", "stalled"),
    [
        ((3, 2, 1), 1, False),
        ((3, 2, 2), 1, True),  # no better is not better
        ((3, 1, 2), 2, False),
        ((3, 1, 2, 1.5), 2, True),
        ((1, 2, 0.5, 3), 2, False),
        ((1,), 1, False),
        ((), 1, False),
        ((1, 9, 9, 9), None, False),
    ],
)
def test_when_it_has_stalled(losses: tuple[float, ...], patience: int | None, stalled: bool) -> None:
    assert has_stalled(history(*losses), patience) == stalled


def test_a_training_that_stalls_ends_early_and_is_resumed_as_over(tmp_path: Path) -> None:
    """With a learning rate that moves nothing, the second reading is no better than the first."""

    def running(model: Any, folder: str) -> Any:
        settings = training(steps=40, evaluations=8, patience=2, learning_rate=1e-30)
        task = Regression(batch_norm=False)
        return train(model, task, tables(), settings, worker(tmp_path / folder), checkpoint="trials/x/c.pt")

    whole = build(Regression(batch_norm=False))
    expected = list(running(whole, "whole"))
    assert len(expected) == 3
    assert expected[-1].step < 40
    first = running(build(Regression(batch_norm=False)), "parts")
    next(first)
    first.close()
    again = build(Regression(batch_norm=False), seed=9)
    assert [report.step for report in running(again, "parts")] == [report.step for report in expected[1:]]
    assert list(running(build(Regression(batch_norm=False)), "parts")) == []
    assert differing(bits(whole), bits(again)) == []


def test_one_that_improves_uses_its_budget(tmp_path: Path) -> None:
    _, patient = run(tmp_path, steps=20, patience=50)
    _, plain = run(tmp_path, steps=20)
    assert [r.metrics["val_loss"] for r in patient] == [r.metrics["val_loss"] for r in plain]
