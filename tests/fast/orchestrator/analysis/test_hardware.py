"""Seconds and milliseconds hold for one machine: the comparison says which, in the terminal and on the page."""

from __future__ import annotations

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.table import make_table
from orchestrator.commands.compare import comparison_text
from tests.support.hardware_tables import compared, said
from tests.support.sample_sweep import sample_plan

ON_CPU = "measured there on 1 thread of a processor"


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
