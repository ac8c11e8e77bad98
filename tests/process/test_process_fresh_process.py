"""A process of its own: what is asked and answered arrives as it was sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.process.fresh_process import ChildError, in_fresh_process

ECHO = """
import sys
from trainables.process.fresh_process import answer

def respond(request):
    if "raise" in request:
        raise ValueError(request)
    return request

answer(respond, sys.argv[1:])
"""
ASCII_ONLY = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def test_text_arrives_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "echo_child.py").write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    assert in_fresh_process("echo_child", "/data/größe ★", tmp_path, ASCII_ONLY) == "/data/größe ★"
    with pytest.raises(ChildError, match="measuring failed: raise größe"):
        in_fresh_process("echo_child", "raise größe", tmp_path, ASCII_ONLY)
