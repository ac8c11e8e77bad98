"""What the measuring process computes, and what its owner is told when it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.compiled import cache_in
from trainables.config.trial import MeasureSettings, TaskConfig
from trainables.measure.artifact import export_model
from trainables.measure.client import MeasureError, measure_in_fresh_process
from trainables.measure.measure import MeasureRequest
from trainables.tasks.load import load_task


def request(folder: Path, **changes: Any) -> MeasureRequest:
    settings = {
        "task": TaskConfig(name="diabetes_mlp", options={"features": 8, "layers": 1}, data="test", code="test"),
        "model": str(folder / "model.pt2"),
        "parent": None,
        "measure": MeasureSettings(device="cpu", batch_sizes=(1, 8)),
        "cache": str(cache_in(folder)),
    }
    return MeasureRequest(**{**settings, **changes})


def test_what_fails_in_the_process_is_said_outside(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"measuring failed: .*model\.pt2") as caught:
        measure_in_fresh_process(request(tmp_path))
    assert "Traceback" in caught.value.details
    (tmp_path / "model.pt2").write_bytes(b"no model")
    with pytest.raises(MeasureError, match="measuring failed: "):
        measure_in_fresh_process(request(tmp_path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="sees no CUDA device; use cpu or auto"):
        measure_in_fresh_process(request(tmp_path, measure=MeasureSettings(device="cuda")))


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=r"longer than 0\.2 s and was ended"):
        measure_in_fresh_process(request(tmp_path), timeout_seconds=0.2)


def test_a_process_that_was_killed_is_told_from_one_that_failed(tmp_path: Path, monkeypatch) -> None:
    """The user's module, imported by the measuring process, kills it."""
    (tmp_path / "deadly.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.syspath_prepend(tmp_path)
    deadly = TaskConfig(name="deadly:Task", data="test", code="test")
    with pytest.raises(MeasureError, match=r"ended by SIGKILL; out of memory\?"):
        measure_in_fresh_process(request(tmp_path, task=deadly))


def test_without_latency_only_accuracy_and_size_are_measured(tmp_path: Path) -> None:
    asked = request(tmp_path, latency=False)
    task = load_task(asked.task.name, asked.task.options, ())
    export_model(task.build_model(), (torch.randn(2, 10),), tmp_path / "model.pt2")
    found = measure_in_fresh_process(asked)
    names = {"val_loss", *(f"val_{name}" for name in task.metrics)}
    assert set(found.metrics) == names | {"artifact_bytes", "compile_seconds", "process_peak_rss_bytes"}
    assert found.metrics["artifact_bytes"].value == (tmp_path / "model.pt2").stat().st_size
    assert found.environment["measure_device"] == "cpu"
