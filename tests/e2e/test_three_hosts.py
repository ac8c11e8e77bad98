"""A cluster of three hosts, token on: one is cut off for half a minute and comes back, another is lost for good."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.e2e.test_autoscaling import isolated
from tests.support.loopback import CLONE, clean_environment
from tests.support.places import ROOT
from tests.support.three_hosts import TRIALS

LOST_S = 60.0  # within which a host that is off is said to be lost

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1500)]


def test_a_sweep_outlives_a_host_that_is_cut_off_and_one_that_is_lost(tmp_path: Path) -> None:
    tools = all(map(shutil.which, ("unshare", "ip", "hostname")))
    try_out = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link add name br0 type bridge && ip netns add n && "
    try_out += "ip netns exec n unshare --pid --fork --mount --uts --mount-proc mount -t tmpfs tmpfs /tmp"
    if not tools or isolated("sh", "-c", try_out).returncode:
        pytest.skip("needs unshare, ip and hostname, and to make namespaces with a bridge and mounts in them")
    if any(str(path).startswith("/tmp/") for path in (CLONE, sys.executable)):  # noqa: S108
        pytest.skip("needs a clone outside of /tmp, which each host has of its own")
    script = [sys.executable, str(ROOT / "tests/support/three_hosts.py"), str(tmp_path)]
    done = isolated(*script, env=clean_environment(), timeout=1400)
    logs = "".join(f"\n{path.name}:\n{path.read_text()[-1500:]}" for path in sorted(tmp_path.glob("*.log")))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:] + logs
    happened = json.loads((tmp_path / "happened.json").read_text())
    said = "\n".join(f"{at - happened['cut']:7.1f}  {line}" for at, line in happened["lines"])

    assert "is the same place for all 3 nodes" in happened["doctor"]
    assert "problem" not in happened["doctor"]
    at_work = json.loads(happened["at_work"])
    assert at_work["status"] == "RUNNING"
    assert at_work["trials"]["total"] == TRIALS
    assert sum(at_work["trials"]["ended"].values()) >= 2

    lost = [at for at, line in happened["lines"] if "node 10.77.0.2" in line and "is lost" in line]
    assert lost, said
    assert lost[0] - happened["off"] < LOST_S, said
    assert happened["exit_code"] == 0, said
    end = json.loads(happened["status"])
    assert (end["status"], end["trials"]["ended"]) == ("SUCCEEDED", {"completed": TRIALS}), said
