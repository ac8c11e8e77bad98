"""Comparisons of sweeps that were trained and measured on several machines."""

from __future__ import annotations

from orchestrator.analysis.comparison import SweepComparison, compare
from orchestrator.analysis.table import make_table
from orchestrator.commands.compare import comparison_text
from orchestrator.report.page import to_page
from tests.support.sample_sweep import sample_plan, sample_results


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
