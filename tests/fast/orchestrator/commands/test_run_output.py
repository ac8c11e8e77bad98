"""What `paretune run` prints: it holds no secret, and whoever reads it may go."""

from __future__ import annotations

import io
import sys

import pytest

from orchestrator import cli


def test_every_letter_can_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", None)  # as `2>&-` leaves it
    cli._make_everything_printable()
    print("größe.parquet", flush=True)
    print("lost", file=sys.stderr, flush=True)
    assert written.getvalue() == b"gr\\xf6\\xdfe.parquet\n"
    assert not sys.stderr.isatty()
    sys.stderr.close()
