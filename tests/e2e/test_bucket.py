"""A whole sweep whose storage is a bucket: run, resumed, compared and read, as from several machines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bucket import bucket
from trainables.storage import Storage, within

SWEEP = """
name: small
task: digits_cnn
objective: {metric: val_accuracy, target: 0.9}
budget: {examples: 1500}
evaluations: 3
parameters:
  batch_size: {values: [16, 32]}
  learning_rate: 0.05
compression: {parents: {top: 1}, variants: [{distill: {width: 0.5, budget_fraction: 0.5}}]}
"""


@pytest.mark.timeout(900)
def test_a_sweep_lives_in_a_bucket(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SWEEP)
    environment = {**os.environ, "AWS_EC2_METADATA_DISABLED": "true"}

    def paretune(*arguments: str, storage: str) -> str:
        command = [sys.executable, "-m", "orchestrator", *arguments, "--storage", storage]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "secret" not in done.stdout + done.stderr
        return done.stdout

    with bucket() as uri:
        place = within(uri, "results")
        printed = paretune("run", "small.yaml", storage=place)
        assert "4 trials in" in printed
        assert "Recommended:" in printed
        storage = Storage(place)
        trials = storage.names("trials")
        assert len(trials) == 4
        for trial in trials:
            assert {"result.json", "model.pt2"} <= set(storage.names(f"trials/{trial}"))
            assert not storage.exists(f"trials/{trial}/checkpoint.pt")
        results = {trial: storage.read(f"trials/{trial}/result.json") for trial in trials}
        again = paretune("run", "small.yaml", storage=place)
        assert "] ended " not in again
        assert results == {trial: storage.read(f"trials/{trial}/result.json") for trial in trials}
        found = json.loads(paretune("compare", "small", "--format", "json", storage=place))
        assert {trial["id"] for trial in found["trials"]} == set(trials)
        assert {trial["status"] for trial in found["trials"]} == {"completed"}
        paretune("report", "small", "--output", "small.html", storage=place)
        assert (tmp_path / "small.html").stat().st_size > 100_000
