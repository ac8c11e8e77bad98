"""What `paretune run` prints: it holds no secret, and whoever reads it may go."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.commands import run
from tests.support.places import ROOT

SWEEP = ROOT / "examples/digits.yaml"


def test_a_run_whose_readers_left_ends_by_its_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = SimpleNamespace(table=SimpleNamespace(has_completed=True))
    monkeypatch.setattr(run, "run_plan", lambda *_, **__: print("note", file=sys.stderr, flush=True) or comparison)
    monkeypatch.setattr(run, "show_comparison", lambda _: print("x" * 100_000, flush=True))
    monkeypatch.setattr(run, "_say_what_next", lambda *_: print("next"))
    reader, writer = os.pipe()
    screen, terminal = os.openpty()
    with os.fdopen(writer, "w") as output, os.fdopen(terminal, "w") as errors:
        os.close(reader)
        os.close(screen)
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "stderr", errors)
        code = run.run_command(SWEEP, str(tmp_path))
    assert code == run.DONE


def test_the_command_to_go_on_with_has_no_secret_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "Journal", interrupted)
    address = "abfss://results@account.dfs.core.windows.net/sweeps?sv=1&sig=hunter2"
    assert run.run_command(SWEEP, address) == 130
    said = capsys.readouterr().err
    assert "--storage 'abfss://results@account.dfs.core.windows.net/sweeps?sv=1&sig=***'" in said
    assert "without its credentials" in said
    assert "hunter2" not in said


def test_a_command_that_is_complete_needs_no_words() -> None:
    assert run._left_out("s3://bucket/x?region=eu-west-1") == run._left_out(None) == ""
