"""A cluster that has no machine for trials yet: `ray up` makes such a one, and its autoscaler starts them on demand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.loopback import CLONE, clean_environment
from tests.support.places import ROOT

NAMESPACES = ("unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
AS_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")


def isolated(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    """In a network and among processes of its own, which end with it."""
    inner = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]
    return subprocess.run(
        [NAMESPACES[0], *AS_ROOT, *NAMESPACES[1:], *inner], capture_output=True, text=True, check=False, **options
    )  # type: ignore[call-overload,no-any-return]


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_a_sweep_makes_a_cluster_without_machines_start_some(tmp_path: Path) -> None:
    if not shutil.which("unshare") or not shutil.which("ip") or isolated("true").returncode:
        pytest.skip("needs unshare and ip, and namespaces that this user may make")
    environment = {**clean_environment(), "PYTHONPATH": str(CLONE), "PARETUNE_CACHE": str(tmp_path / "cache")}
    with tempfile.TemporaryDirectory(
        prefix="ray-", ignore_cleanup_errors=True
    ) as ray_folder:  # its paths must be short
        script = [sys.executable, str(ROOT / "tests/support/grow_cluster.py"), str(tmp_path), ray_folder]
        done = isolated(*script, env=environment, timeout=380)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "1 trial in" in done.stdout
    assert "1 completed" in done.stdout
