"""The stored plan while a sweep runs again: never less in it than before, and what of it is out is told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.adaptive.resolve import Outlook, outlook
from orchestrator.analysis.plan_file import PLAN, left_behind, load_plan, save_plan, stored_plan
from orchestrator.planning.expand import expand
from orchestrator.running.plan_keeper import PlanKeeper
from orchestrator.sweep.plan import Plan
from orchestrator.wording.earlier import earlier_words
from tests.support.sweep_text import load_text, sweep_text
from trainables.estimate import Estimate
from trainables.results import Status, TrialResult
from trainables.storage import Storage, sweep_file, trial_file


def test_a_sweep_that_is_run_again_keeps_its_variants_while_results_are_read(tmp_path: Path) -> None:
    plan, storage = expand(load_text(tmp_path, sweep_text())), Storage(str(tmp_path))
    metrics = {"val_accuracy": Estimate(value=0.9)}
    results = [
        TrialResult(id=trial.id, config=trial.config, status=Status.COMPLETED, metrics=metrics) for trial in plan.trials
    ]

    def stored() -> list[str]:
        return [trial.id for trial in load_plan(storage, plan.sweep.name).trials]

    first, ahead = PlanKeeper(plan, storage), Outlook(plan)
    assert stored() == [trial.id for trial in plan.trials]  # from the first moment
    for trial, result in zip(plan.trials, results, strict=True):
        first.started(trial)
        ahead.learn([result])
        first.planned(ahead)
    whole = stored()
    assert len(whole) == len(plan.trials) + len(plan.pending) > len(plan.trials)

    again, ahead = PlanKeeper(plan, storage), Outlook(plan)
    for result in results:
        assert stored() == whole
        ahead.learn([result])
        again.planned(ahead)
    again.save()
    assert stored() == whole


def test_another_plan_of_the_same_name_is_stored_once_its_first_trial_starts(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    PlanKeeper(expand(load_text(tmp_path, sweep_text())), storage)
    other = expand(load_text(tmp_path, sweep_text(budget="{examples: 2000}")))
    PlanKeeper(other, storage).started(other.trials[0])
    assert [trial.id for trial in load_plan(storage, "small").trials] == [trial.id for trial in other.trials]


def changed(plan: Plan, **facts: object) -> Plan:
    return expand(plan.sweep.model_copy(update={"facts": plan.sweep.facts.model_copy(update=facts)}))


def with_other_data(plan: Plan) -> Plan:
    return changed(plan, data=("other",))


def with_other_code(plan: Plan) -> Plan:
    return changed(plan, code="other")


def with_both(plan: Plan) -> Plan:
    return changed(plan, data=("other",), code="other")


def with_another_batch_size(plan: Plan) -> Plan:
    parameters = plan.sweep.parameters.model_copy(update={"batch_size": (16, 64)})
    return expand(plan.sweep.model_copy(update={"parameters": parameters}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plan: plan, ""),
        (with_other_data, "8 had other data"),
        (with_other_code, "8 had other code"),
        (with_both, "8 had other data and code"),
        (with_another_batch_size, "4 had other settings"),  # one of two, with its three variants
    ],
)
def test_what_of_the_stored_plan_is_out_is_said_with_the_reason(
    tmp_path: Path, change: Callable[[Plan], Plan], words: str
) -> None:
    plan, storage = expand(load_text(tmp_path, sweep_text())), Storage(str(tmp_path))
    assert left_behind(storage, plan) == {}
    metrics = {"val_accuracy": Estimate(value=0.9)}
    results = {
        t.id: TrialResult(id=t.id, config=t.config, status=Status.COMPLETED, metrics=metrics) for t in plan.trials
    }
    known = stored_plan(plan, outlook(plan, results).known)
    save_plan(storage, known)
    assert left_behind(storage, change(plan)) == {}  # none of them has come to a result
    for trial in known.trials:
        storage.write(trial_file(trial.id, "result.json"), b"{}")
    said = earlier_words(left_behind(storage, change(plan)))
    assert said == (f"earlier trials of this sweep do not count: {words}" if words else "")


def test_a_stored_plan_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    plan, storage = expand(load_text(tmp_path, sweep_text())), Storage(str(tmp_path))
    storage.write(sweep_file("small", PLAN), b"{")
    assert left_behind(storage, plan) == {}
