"""Trials that ran side by side on one machine are said to have, where seconds and throughput are shown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.analysis.caveats import SharedMachine
from orchestrator.analysis.comparison import compare
from orchestrator.analysis.sharing import Sharing, sharing
from orchestrator.analysis.table import SweepTable, make_table
from orchestrator.commands.compare import comparison_text
from orchestrator.report.page import to_page
from tests.support.sample_sweep import of_kind, sample_plan, sample_results

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def ran(when: Callable[[int], dict[str, str]]) -> SweepTable:
    """A sweep of four baselines, the n-th of which ran where and when it is said."""
    plan = sample_plan(batch_sizes=(8, 32), multipliers=(0.5, 1.0), seeds=(0,), chains=())
    results = {
        result.id: result.model_copy(update={"environment": result.environment | when(number)})
        for number, result in enumerate(sample_results(plan))
    }
    return make_table(plan, results)


def at(begin: float, end: float, machine: str = "one") -> dict[str, str]:
    times = {"started_at": begin, "ended_at": end}
    told = {name: (NOON + timedelta(seconds=time)).isoformat(timespec="milliseconds") for name, time in times.items()}
    return {"node": f"container on {machine}", "boot_id": machine, **told}


@pytest.mark.parametrize(
    ("when", "together", "at_once"),
    [
        pytest.param(lambda n: at(10 * n, 10 * n + 10), [], 0, id="one after the other"),
        pytest.param(lambda n: at(10 * n, 10 * n + 10.2), [], 0, id="not worth telling: 4 % of its time"),
        pytest.param(lambda n: at(0, 10, str(n)), [], 0, id="each on a machine of its own"),
        pytest.param(lambda n: at(0, 10), [0, 1, 2, 3], 4, id="all at a time"),
        pytest.param(lambda n: at(5 * (n // 2), 5 * (n // 2) + 5), [0, 1, 2, 3], 2, id="two at a time"),
        pytest.param(lambda n: at(0, 100) if n == 0 else at(10 * n, 10 * n + 1), [1, 2, 3], 2, id="3 s of 100 s"),
        pytest.param(lambda n: at(0, 10) if n < 2 else {}, [0, 1], 2, id="of two it is not known"),
        pytest.param(lambda n: at(0, 0) if n else at(-1, 1), [], 0, id="no time at all"),
    ],
)
def test_who_ran_beside_others(when: Callable[[int], dict[str, str]], together: list[int], at_once: int) -> None:
    table = ran(when)
    found = sharing(table)
    known = sum("node" in row.result.environment for row in table.rows if row.result)
    expected = Sharing(tuple(table.rows[number].id for number in together), known, at_once) if together else None
    assert found == expected


def test_it_is_said_below_the_table_and_with_the_recommendation() -> None:
    told = (
        "2 of 4 trainings shared a machine: their seconds are not those of a quiet one. Up to 2 trials of this sweep "
        "ran there at a time, which affects examples/s too."
    )
    comparison = compare(ran(lambda n: at(0, 10) if n < 2 else at(10 * n, 10 * n + 10)))
    (caveat,) = of_kind(comparison.recommendation.caveats, SharedMachine)
    assert caveat.found == comparison.evidence.sharing
    text = " ".join(comparison_text(comparison, 200, details=True).split())
    assert [text.count(told), to_page(comparison).count(told)] == [2, 2]
    alone = compare(ran(lambda n: at(10 * n, 10 * n + 10)))
    assert "shared a machine" not in comparison_text(alone, 200, details=True) + to_page(alone)
