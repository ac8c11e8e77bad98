"""The stored plan while a sweep runs again: at no moment does a comparison find less in it than before."""

from __future__ import annotations

from pathlib import Path

from orchestrator.analysis.stored import load_plan
from orchestrator.planning.expand import expand
from orchestrator.run import PlanKeeper
from tests.unit.sweep_text import load_text, sweep_text
from trainables.results import Estimate, Status, TrialResult
from trainables.storage import Storage


def test_a_sweep_that_is_run_again_keeps_its_variants_while_results_are_read(tmp_path: Path) -> None:
    plan, storage = expand(load_text(tmp_path, sweep_text())), Storage(str(tmp_path))
    metrics = {"val_accuracy": Estimate(value=0.9)}
    results = [
        TrialResult(id=trial.id, config=trial.config, status=Status.COMPLETED, metrics=metrics) for trial in plan.trials
    ]

    def stored() -> list[str]:
        return [trial.id for trial in load_plan(storage, plan.sweep.name).trials]

    first = PlanKeeper(plan, storage)
    assert stored() == [trial.id for trial in plan.trials]  # from the first moment
    for trial, result in zip(plan.trials, results, strict=True):
        first.started(trial)
        first.ended(result)
    whole = stored()
    assert len(whole) == len(plan.trials) + len(plan.pending) > len(plan.trials)

    again = PlanKeeper(plan, storage)
    for result in results:
        assert stored() == whole
        again.ended(result)
    again.save()
    assert stored() == whole


def test_another_plan_of_the_same_name_is_stored_once_its_first_trial_starts(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    PlanKeeper(expand(load_text(tmp_path, sweep_text())), storage)
    other = expand(load_text(tmp_path, sweep_text(budget="{examples: 2000}")))
    PlanKeeper(other, storage).started(other.trials[0])
    assert [trial.id for trial in load_plan(storage, "small").trials] == [trial.id for trial in other.trials]
