"""What the orchestrator makes of probes: the command, the fit, the powers of two, and their place in a sweep."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app


@pytest.mark.nightly
def test_the_command_probes(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PARETUNE_CACHE", str(tmp_path))
    arguments = ["probe", "diabetes_mlp", "--precision", "float32", "--optimizer", "sgd", "--max-micro-batch", "16"]
    done = CliRunner().invoke(app, [*arguments, "--throughput", "--rounds", "6", "--format", "json"])
    assert done.exit_code == 0, done.output
    assert "micro-batch 16 fits" in done.stderr
    (probe,) = json.loads(done.stdout)["probes"]
    assert probe["metrics"]["largest_micro_batch_size"]["value"] == 16
    assert "max_micro_batch_size 16" in probe["metrics"]["largest_micro_batch_size"]["note"]
    assert probe["metrics"]["step_seconds_micro_batch_8"]["n"] == 6
