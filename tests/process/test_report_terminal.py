"""What a person reads: figures in words, tables that fit, and the two commands with their exit codes."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from tests.support.sample_sweep import write_sample
from trainables.storage import Storage


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    place = Storage(str(tmp_path_factory.mktemp("storage")))
    write_sample(place)
    return place


def run_compare(*arguments: str, columns: str | None = None) -> bytes:
    """The command in a process of its own, its output going to a pipe."""
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    environment |= {} if columns is None else {"COLUMNS": columns}
    code = "import sys; from orchestrator.commands.compare import compare_command as c; sys.exit(c(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    return done.stdout


def test_a_pipe_gets_plain_text_and_parquet_gets_through_it(storage: Storage) -> None:
    text = run_compare("sample", storage.uri, "table").decode()
    assert "→ Recommended" in text
    assert "goals  trial" in text
    assert "\x1b" not in text
    narrow = run_compare("sample", storage.uri, "table", columns="80").decode().splitlines()
    assert max(map(len, narrow)) <= 80
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert pq.read_table(io.BytesIO(run_compare("sample", storage.uri, "parquet"))).num_rows == 42


def test_a_terminal_without_unicode_is_no_reason_to_fail(storage: Storage) -> None:
    code = "import sys; from orchestrator.commands.compare import compare_command as c; sys.exit(c(*sys.argv[1:]))"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, "sample", storage.uri, "table"], capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"Recommended" in done.stdout
