"""A sweep that this machine can never run is told so by its plan, and refused before Ray is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.commands.room_check import room_notes
from orchestrator.planning.expand import expand
from tests.support.room_text import text
from tests.support.sweep_text import load_text, sweep_text

CPUS = len(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_a_plan_notes_what_this_machine_would_refuse_and_nothing_of_a_cluster_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = expand(load_text(tmp_path, text()))
    (note,) = room_notes(plan)
    assert f"without --address would use this machine alone ({CPUS} CPU and 0 GPU) and refuse the sweep" in note
    assert (
        f"needs 4096 x (1 CPU), but the cluster's nodes have {CPUS} CPU and 0 GPU: set parameters.num_workers" in note
    )
    assert "in float16" in room_notes(expand(load_text(tmp_path, text("float16"))))[0]
    assert room_notes(expand(load_text(tmp_path, sweep_text()))) == ()
    labels = "{node_labels: {zone: a}}"
    assert room_notes(expand(load_text(tmp_path, text(resources=labels)))) == ()
    monkeypatch.setenv("RAY_ADDRESS", "host:6379")
    assert room_notes(plan) == ()
