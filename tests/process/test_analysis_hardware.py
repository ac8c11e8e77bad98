"""Seconds and milliseconds hold for one machine: the comparison says which, in the terminal and on the page."""

from __future__ import annotations

from orchestrator.analysis.caveats import SeveralMachines
from tests.support.hardware_tables import compared, said
from tests.support.sample_sweep import of_kind

ON_CPU = "measured there on 1 thread of a processor"


def test_trained_on_an_accelerator_and_measured_on_the_processor_beside_it() -> None:
    """As in every sweep with int8, which runs on processors."""
    comparison = compared({"device": "NVIDIA H100"}, {})
    assert said(comparison, "Training on NVIDIA H100: each batch size")
    assert said(comparison, ON_CPU)
    assert of_kind(comparison.recommendation.caveats, SeveralMachines) == []
