"""`batch_size: auto` trains nothing that tells nothing: no trial on after its answer, no size that is out of reach."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.analysis.equal_budget import behind
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.table import SweepTable, make_table
from orchestrator.planning.expand import expand
from orchestrator.running.ledger import Ledger
from orchestrator.running.observer import Observers
from orchestrator.sweep.plan import Plan, Stage
from orchestrator.sweep.spec import Sweep
from tests.support.simulated import Law, play, sweep_of
from trainables.results import Status
from trainables.storage import Storage


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path).model_copy(update={"evaluations": 50})


def table_of(ledger: Ledger) -> SweepTable:
    return make_table(stored_plan(ledger.plan, ledger.trials.values()), ledger.results)


def run(plan: Plan, law: Law, folder: Path, order: random.Random) -> Ledger:
    """Several trials at a time, their readings in any order, each ended once it has answered."""
    ledger = Ledger(plan, Storage(str(folder)), Observers(()))
    ledger.load()
    while not ledger.is_complete:
        trials = ledger.open_trials()[: order.randint(1, 4)]
        running = {trial.id: (law.result(trial), iter(law.result(trial).history)) for trial in trials}
        while running:
            name = order.choice(sorted(running))
            result, readings = running[name]
            report = next(readings, None)
            if report is not None:
                ledger.report(name, report)
            if ledger.has_answered(name):
                ledger.ended_as(name, Status.STOPPED_EARLY, "answered")
            elif report is None:
                ledger.ended(result)
            if name in ledger.results:
                del running[name]
    return ledger


def trained(ledger: Ledger) -> int:
    return sum(result.history[-1].examples for result in ledger.results.values() if result.history)


def test_it_spares_examples_and_the_best_of_each_batch_size_runs_on(sweep: Sweep, tmp_path: Path) -> None:
    plan, law = expand(sweep), Law()
    ledger = run(plan, law, tmp_path / "storage", random.Random(0))  # noqa: S311
    stopped = [result for result in ledger.results.values() if result.status is Status.STOPPED_EARLY]
    assert len(stopped) >= 5
    assert {ledger.trials[result.id].stage for result in stopped} <= {Stage.FIT, Stage.EDGE}
    _, results = play(plan, law)
    assert trained(ledger) < 0.9 * sum(result.history[-1].examples for result in results.values() if result.history)
    verdict = Evidence(table_of(ledger)).batch
    assert verdict is not None
    assert all(row.configuration.measured for row in verdict.fit.rows)


LAWS = {
    "as the file says": Law(),
    "rates four times too low": Law(base_rate=0.2, rate_power=0.5),
    "few steps are enough": Law(min_steps=10, critical_batch=1500),
    "no size but the smaller ones gets there": Law(min_steps=400),
    "hardly any noise": Law(noise=0.001),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize("seed", range(3))
def test_every_answer_is_that_of_trials_that_run_on(sweep: Sweep, tmp_path: Path, law: Law, seed: int) -> None:
    plan = expand(sweep)
    trials, results = play(plan, law)
    whole = make_table(stored_plan(plan, trials.values()), results)
    ledger = run(plan, law, tmp_path / "storage", random.Random(seed))  # noqa: S311 - an order, not a secret
    assert set(ledger.trials) == set(trials)
    mine, its = Evidence(table_of(ledger)), Evidence(whole)
    found, expected = mine.batch, its.batch
    assert found is not None
    assert expected is not None
    assert [(row.batch_size, row.configuration.key, row.crossings, row.rates, row.seeds) for row in found.fit.rows] == [
        (row.batch_size, row.configuration.key, row.crossings, row.rates, row.seeds) for row in expected.fit.rows
    ]
    for a, b in ((found, expected), (expected, found)):
        assert replace(a, fit=b.fit) == b
    assert behind(mine) == behind(its)
