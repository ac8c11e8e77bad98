"""What a person reads of whole sweeps, held as text: the decisions behind it are tested as values.

After a change of wording: `python -m pytest tests/fast/test_goldens.py --update-goldens`, and read
the difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from orchestrator.analysis.comparison import SweepComparison, TestReading, compare
from orchestrator.analysis.table import make_table
from orchestrator.commands.compare import comparison_text
from orchestrator.sweep.spec import Goal
from orchestrator.wording.recommendation import caveats, reasons, recommendation_headline
from tests.support.demo_sweep import demo_table
from tests.support.sample_sweep import sample_plan, sample_results
from trainables.estimate import Estimate

WIDTH = 100
Golden = Callable[[str, str], None]


@pytest.fixture(scope="module")
def demo() -> SweepComparison:
    found = compare(demo_table())
    row = found.recommendation.row
    assert row is not None
    reading = TestReading(trial=row.id, metrics={"test_accuracy": Estimate(value=0.9833, low=0.9642, high=0.9923)})
    return compare(found.table, reading)


def sample(**options: object) -> SweepComparison:
    plan = sample_plan(**options)  # type: ignore[arg-type]
    return compare(make_table(plan, {result.id: result for result in sample_results(plan)}))


def without_ids(text: str) -> str:
    """A sample's trials have other ids whenever a configuration has another field."""
    return re.sub(r"\b[0-9a-f]{12}\b", "<a trial id>", text)


def test_the_demo_fits_on_one_screen(demo: SweepComparison, golden: Golden) -> None:
    text = comparison_text(demo, WIDTH)
    lines = text.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= WIDTH
    golden("demo", text)


def test_the_demo_with_its_details(demo: SweepComparison, golden: Golden) -> None:
    golden("demo_details", comparison_text(demo, WIDTH, details=True))


def test_a_recommendation_over_three_seeds(golden: Golden) -> None:
    golden("three_seeds", without_ids(told(sample(variant_seeds=(0, 1, 2)))))


def test_no_recommendation(golden: Golden) -> None:
    goal = Goal(metric="artifact_bytes", type="percent-min-improvement", value=95)
    golden("nothing_recommended", without_ids(told(sample(goals=(goal,)))))


def test_baselines_alone(golden: Golden) -> None:
    golden("baselines_alone", without_ids(told(sample(chains=(), seeds=(0,)))))


def told(comparison: SweepComparison) -> str:
    """The recommendation short, and with all that it rests on."""
    table, found = comparison.table, comparison.recommendation
    parts = [recommendation_headline(table, found)]
    for details in (False, True):
        title = "With the details:" if details else "Short:"
        said = [*reasons(table, found, details=details), *caveats(table, found.caveats, details=details)]
        parts += ["", title, *(f"- {sentence}" for sentence in said)]
    return "\n".join(parts)
