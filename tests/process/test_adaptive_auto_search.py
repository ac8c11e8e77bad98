"""`batch_size: auto` from the first probe to the verdict, on simulated tasks whose answer is known."""

from __future__ import annotations

import html
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.adaptive.resolve import further_trials
from orchestrator.analysis.comparison import compare
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.table import make_table
from orchestrator.planning.expand import expand
from orchestrator.report.export import to_json
from orchestrator.report.page import to_page
from orchestrator.report.terminal import print_comparison
from orchestrator.running.ledger import Ledger
from orchestrator.running.observer import Observers
from orchestrator.sweep.spec import Sweep
from tests.support.simulated import Law, play, sweep_of
from trainables.storage import Storage

LAW = Law()
LAW_FASTEST = 128  # of the sizes that are tried; sqrt(overhead critical_batch / per_example) is 141


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(tmp_path)


# -- in the comparison -------------------------------------------------------------------------------------------------


def test_the_comparison_speaks_at_every_point_of_the_way(sweep: Sweep) -> None:
    """Also while trials are missing: terminal, JSON and page."""
    plan = expand(sweep)
    _, results = play(plan, LAW)
    order = list(results)
    for count in (0, 1, 2, 5, len(order) - 5, len(order)):
        some = {name: results[name] for name in order[:count]}
        table = make_table(stored_plan(plan, (*plan.trials, *further_trials(plan, some))), some)
        comparison = compare(table)
        text = to_json(comparison)
        page = to_page(comparison)
        console = Console(width=120, file=io.StringIO(), record=True)
        print_comparison(comparison, console, details=True)
        found = json.loads(text)["batch_size"]
        assert (found["not_determined"] is None) == (count == len(order))
        assert found["headline"] in html.unescape(page)
        assert found["headline"] in " ".join(console.export_text().split())
    assert found["fastest"]["batch_size"] == LAW_FASTEST
    assert found["fastest"]["seeds_reached"] == 4
    assert len(found["against_the_fastest"]) == 2


def test_a_sweep_is_the_same_after_it_was_killed_and_started_again(sweep: Sweep, tmp_path: Path) -> None:
    """The ledger learns of later stages from the results on the storage alone."""
    plan, storage = expand(sweep), Storage(str(tmp_path / "storage"))
    expected = set(play(plan, LAW)[0])
    for run in range(30):
        ledger = Ledger(plan, storage, Observers(()))
        ledger.load()
        for trial in ledger.open_trials()[: 2 + run % 3]:  # then it is killed
            ledger.started(trial.id)
            ledger.ended(LAW.result(trial))
        if ledger.is_complete:
            break
    assert ledger.is_complete
    assert set(ledger.trials) == expected == set(ledger.results)
