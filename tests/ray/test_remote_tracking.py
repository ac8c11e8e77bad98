"""What is wrong where MLflow records, said before a sweep runs; what passes by itself is told from what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.commands import run
from orchestrator.commands.ui import ui_command
from orchestrator.remote.tracking import TrackingError, check_tracking
from tests.support.places import ROOT

SWEEP = ROOT / "examples/digits.yaml"


def test_run_says_so_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "load_note", lambda: "")  # of a machine that is busy with other tests
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:5000")
    with pytest.raises(TrackingError):
        check_tracking("localhost:5000")
    assert run.run_command(SWEEP, str(tmp_path)) == 2
    said = capsys.readouterr().err
    assert said == (
        "paretune: MLFLOW_TRACKING_URI 'localhost:5000' is not an MLflow address: write http://localhost:5000 for a "
        "server, or sqlite:////path/mlflow.db for a file\n"
    )
    assert ui_command("digits", str(tmp_path), port=5000) == 2
    assert capsys.readouterr().err == said
