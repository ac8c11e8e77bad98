"""Seconds and milliseconds hold for one machine: the comparison says which, in the terminal and on the page."""

from __future__ import annotations

from orchestrator.analysis.caveats import SeveralMachines
from orchestrator.analysis.comparison import SweepComparison, compare
from orchestrator.analysis.table import make_table
from orchestrator.commands.compare import comparison_text
from orchestrator.report.page import to_page
from tests.support.sample_sweep import of_kind, sample_plan, sample_results

ON_CPU = "measured there on 1 thread of a processor"


def compared(baselines: dict[str, str], variants: dict[str, str]) -> SweepComparison:
    plan = sample_plan()
    changes = {"baseline": baselines, "variant": variants}
    results = [
        result.model_copy(update={"environment": result.environment | changes[result.config.kind]})
        for result in sample_results(plan)
    ]
    return compare(make_table(plan, {result.id: result for result in results}))


def said(comparison: SweepComparison, words: str) -> bool:
    return words in comparison_text(comparison, 160, details=True) and words in to_page(comparison)


def test_trained_on_an_accelerator_and_measured_on_the_processor_beside_it() -> None:
    """As in every sweep with int8, which runs on processors."""
    comparison = compared({"device": "NVIDIA H100"}, {})
    assert said(comparison, "Training on NVIDIA H100: each batch size")
    assert said(comparison, ON_CPU)
    assert of_kind(comparison.recommendation.caveats, SeveralMachines) == []
