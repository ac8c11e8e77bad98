"""Hosts as they are: without a home, with proxies, inside another MLflow run, with long paths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.commands.run import run_command
from tests.support.places import ROOT

HERE = ROOT


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No proxies and no MLflow in the environment."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    for name in ("no_proxy", "NO_PROXY"):  # so that what is set here is unset afterwards
        monkeypatch.setenv(name, "")
    return monkeypatch


def test_run_says_where_it_cannot_write_before_it_reads_any_data(
    tmp_path: Path, bare: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    bare.setenv("PARETUNE_CACHE", str(tmp_path / "file" / "cache"))
    assert run_command(HERE / "examples/digits.yaml", str(tmp_path / "results")) == 2
    assert capsys.readouterr().err == (
        f"paretune: the folder for converted data, {tmp_path}/file/cache, cannot be written (Not a directory): set "
        "PARETUNE_CACHE to one that can\n"
    )
