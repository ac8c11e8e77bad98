"""What `submit` refuses before a cluster is there to ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.loopback import CLONE, clean_environment, paretune

DIGITS = CLONE / "examples" / "digits.yaml"


@pytest.mark.parametrize(
    ("address", "exit_code", "message"),
    [
        ("http://127.0.0.1:1", 1, "no job server answers at http://127.0.0.1:1"),
        ("http://host.invalid:8265", 1, "no job server answers"),
        ("127.0.0.1:8265", 2, "write http://HOST:8265"),
        ("http://127.0.0.1:port", 2, "write http://HOST:8265"),
        ("http://user:hunter2@127.0.0.1:8265", 2, "RAY_AUTH_TOKEN"),
    ],
)
def test_without_a_server(address: str, exit_code: int, message: str, tmp_path: Path) -> None:
    submit = ["submit", str(DIGITS), "--address", address, "--storage", str(tmp_path)]
    done = paretune(*submit, environment={**clean_environment(), "RAY_ADDRESS": "http://127.0.0.1:2"}, cwd=tmp_path)
    assert done.returncode == exit_code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_a_bad_sweep_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(DIGITS.read_text().replace("batch_size: {values: [16", "batch_sise: {values: [16"))
    submit = ["submit", str(file), "--address", "http://127.0.0.1:1", "--storage", str(tmp_path)]
    done = paretune(*submit, environment=clean_environment(), cwd=tmp_path)
    assert done.returncode == 2
    assert "batch_size" in done.stderr
