"""Three hosts on this machine, and a sweep on them while one is cut off, comes back, and another is lost for good.

Run in network, mount and process namespaces of its own (see test_three_hosts.py): `python three_hosts.py FOLDER`. Each
host has such namespaces too: its processes, its /tmp, its shared memory and its network are its own, and a bridge joins
them. /mnt is what they share. Everything ends with the outer namespace. FOLDER gets the logs, and what
happened as `happened.json`.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

BIN = Path(sys.executable).parent
SHARED = Path("/mnt/shared")  # a file system of the outer namespace, which the hosts inherit
CUT_S = 30.0
PATIENCE_S = 300.0
HEAD = "10.77.0.1"
SERVER = f"http://{HEAD}:8265"
TRIALS = 20  # of 12 s: enough that some are left when the second host is lost
SWEEP = f"""
name: hosts
task: diabetes_mlp
objective: {{metric: val_loss}}
budget: {{seconds: 12}}
parameters: {{batch_size: 16, learning_rate: 0.01, seed: {{values: {list(range(TRIALS))}}}}}
resources: {{accelerator_type: L4, node_labels: {{role: worker}}}}
"""
# Ray's daemons end when their head has given them up, and are started again, as systemd or Kubernetes would.
HOST = """
mount -t tmpfs tmpfs /tmp && mount -t tmpfs -o size=512m tmpfs /dev/shm && hostname $0 && mkdir /tmp/home || exit 1
while true; do "$@"; sleep 1; done
"""


def sh(command: str) -> None:
    subprocess.run(["sh", "-ec", command], check=True)


@dataclass
class Host:
    """A network namespace on the bridge, and in it a process that keeps Ray running."""

    name: str
    address: str
    ray_start: tuple[str, ...]

    def boot(self, folder: Path, environment: dict[str, str]) -> None:
        sh(
            f"ip netns add {self.name} && ip link add to-{self.name} type veth peer name eth0 netns {self.name} && "
            f"ip link set to-{self.name} master br0 up && ip -n {self.name} link set lo up && "
            f"ip -n {self.name} addr add {self.address}/24 dev eth0 && ip -n {self.name} link set eth0 up"
        )
        start = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", f"--node-ip-address={self.address}"]
        start += ["--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0", *self.ray_start]
        apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--mount-proc"]
        with (folder / f"{self.name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *apart, "sh", "-c", HOST, self.name, *start],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def plug(self, state: str) -> None:
        """`down` is like pulling the cable out: no side is notified, and packets are lost."""
        sh(f"ip link set to-{self.name} {state}")

    def power_off(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Told:
    """The lines of a command that goes on, each with the second at which it came."""

    command: list[str]
    environment: dict[str, str]
    lines: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            self.command, env=self.environment, cwd=SHARED, text=True, stdout=pipe, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line.rstrip()))
            print(line, end="", flush=True)

    def count(self, words: str, since: float = 0.0) -> int:
        return sum(words in line for at, line in self.lines if at >= since)

    def end(self) -> int:
        code = self.process.wait(timeout=PATIENCE_S)
        self._reader.join()
        return code


def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(f"not in {PATIENCE_S:.0f} s: {what}")
        time.sleep(0.5)


def paretune(*arguments: str, environment: dict[str, str]) -> str:
    """What it says to a script; what it says to a person goes where this process's own words go."""
    done = subprocess.run(
        [str(BIN / "paretune"), *arguments], env=environment, cwd=SHARED, stdout=subprocess.PIPE, text=True, check=False
    )
    return done.stdout


def alive_nodes(environment: dict[str, str]) -> int:
    """As Ray's head counts them; 0 while it does not answer."""
    token = Path(environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    try:
        answer = requests.get(f"{SERVER}/api/v0/nodes", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        nodes = answer.json()["data"]["result"]["result"]
    except (requests.RequestException, LookupError, TypeError):
        return 0
    return sum(node["state"] == "ALIVE" for node in nodes)


def main() -> int:
    folder = Path(sys.argv[1])
    sh("mount -t tmpfs tmpfs /mnt && mount -t tmpfs tmpfs /run && mkdir /run/netns")
    sh("ip link add name br0 type bridge && ip addr add 10.77.0.254/24 dev br0 && ip link set br0 up")
    SHARED.mkdir()
    (SHARED / "sweep.yaml").write_text(SWEEP)
    token = SHARED / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    client = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    environment = {**client, "HOME": "/tmp/home", "OMP_NUM_THREADS": "1"}  # noqa: S108 - the host's own
    environment["RAY_health_check_timeout_ms"] = "5000"  # as cluster.yaml has it

    gpu = '--resources={"accelerator_type:L4": 1}'  # only said to have one: it is asked for, and not used
    worker = (f"--address={HEAD}:6379", "--num-cpus=1", "--labels=role=worker", gpu)
    serve = (f"--dashboard-host={HEAD}", "--dashboard-port=8265", "--port=6379")
    head = Host("head", HEAD, ("--head", "--num-cpus=0", *serve))
    one, two = Host("one", "10.77.0.2", worker), Host("two", "10.77.0.3", worker)
    for host in (head, one, two):
        host.boot(folder, environment)
    doctor = ["doctor", "--address", SERVER, "--storage", str(SHARED / "results")]
    happened: dict[str, Any] = {}

    until(lambda: alive_nodes(client) == 3, "three nodes")
    happened["doctor"] = paretune(*doctor, environment=client)
    submit = [str(BIN / "paretune"), "submit", "sweep.yaml", "--address", SERVER, "--storage", str(SHARED / "results")]
    sweep = Told([*submit, "--submission-id", "hosts-1"], client)

    until(lambda: sweep.count("ended ") >= 2, "two trials ended")
    happened["at_work"] = paretune("status", "hosts", "--address", SERVER, "--format", "json", environment=client)
    happened["cut"] = time.monotonic()
    two.plug("down")
    time.sleep(CUT_S)
    two.plug("up")
    back = time.monotonic()
    until(lambda: sweep.count("ended ", since=back) >= 3, "three more trials ended")
    happened["off"] = time.monotonic()
    one.power_off()
    happened["exit_code"] = sweep.end()
    happened["lines"] = sweep.lines
    happened["status"] = paretune("status", "hosts", "--address", SERVER, "--format", "json", environment=client)
    (folder / "happened.json").write_text(json.dumps(happened, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
