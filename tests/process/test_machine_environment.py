"""Hosts as they are: without a home, with proxies, inside another MLflow run, with long paths."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.places import ROOT

HERE = ROOT
PARETUNE = (sys.executable, "-c", "from orchestrator.cli import main; main()")


def test_commands_without_a_home_end_with_that_sentence_and_doctor_goes_on() -> None:
    """In a namespace whose user is a number, as containers have it."""
    alien = ("unshare", "-U", "--map-user=12345", "--map-group=12345", "env", "-u", "HOME", "-u", "PARETUNE_CACHE")
    if subprocess.run([*alien, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make user namespaces")

    def told(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([*alien, *PARETUNE, *arguments], cwd=HERE, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    code, plan = told("plan", "examples/digits.yaml")
    assert code == 2
    assert plan.startswith("paretune: there is no home folder: HOME is not set")
    assert len(plan.splitlines()) == 1
    code, found = told("doctor")
    assert code == 1
    assert "problem  home" in found
    assert "ok       python" in found
