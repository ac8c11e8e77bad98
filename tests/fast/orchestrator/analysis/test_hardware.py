"""Seconds and milliseconds hold for one machine: the comparison says which, in the terminal and on the page."""

from __future__ import annotations

from orchestrator.analysis.comparison import SweepComparison, compare
from orchestrator.analysis.table import make_table
from orchestrator.commands.compare import comparison_text
from orchestrator.report.page import to_page
from tests.support.sample_sweep import sample_plan, sample_results

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


def test_on_a_processor() -> None:
    comparison = compared({}, {})
    assert said(comparison, "Training on a processor: each batch size")
    assert said(comparison, ON_CPU)


def test_measured_on_an_accelerator_too() -> None:
    comparison = compared({"device": "NVIDIA H100"}, {"measure_device": "NVIDIA H100", "measure_threads": "4"})
    assert said(comparison, "measured there on NVIDIA H100")
    assert "thread" not in comparison_text(comparison, 160, details=True)


def test_nothing_is_said_before_a_trial_has_ended() -> None:
    text = comparison_text(compare(make_table(sample_plan(), {})), 160, details=True)
    assert "Training: each batch size" in text
    assert "measured there\n" in text
