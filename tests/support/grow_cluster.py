"""A head without CPUs and Ray's own autoscaler, which starts "machines" on this one; then a sweep on it.

Run in network and process namespaces of its own: `python grow_cluster.py FOLDER RAY_FOLDER`. The machines listen on
whatever address they find, and everything ends with the namespace. FOLDER is the home in which `ray up` would leave
its file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EMPTY = (
    *("auth", "file_mounts", "docker"),
    *("cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands", "setup_commands"),
    *("head_setup_commands", "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
)
CLUSTER = {
    "cluster_name": "grows",
    "max_workers": 4,
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 5,
    "provider": {"type": "fake_multinode", "use_node_id_as_ip": True},
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "small": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    },
    "head_node_type": "head",
    "file_mounts_sync_continuously": False,
    **{key: {} if key in EMPTY[:3] else [] for key in EMPTY},
}
SWEEP = """
name: grows
task: diabetes_mlp
objective: {metric: val_loss}
budget: {steps: 20}
parameters: {batch_size: 16, learning_rate: 0.01}
"""


def main() -> int:
    home = Path(sys.argv[1])
    config = home / "ray_bootstrap_config.yaml"
    config.write_text(json.dumps(CLUSTER))
    (home / "sweep.yaml").write_text(SWEEP)
    environment = {**os.environ, "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0"}
    # As `ray up` starts a head, but for the first three: what a test of Ray's own sets.
    head = {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "0",
        "RAY_NODE_TYPE_NAME": "head",
    }
    start = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--num-cpus=0", f"--temp-dir={sys.argv[2]}"]
    log = (home / "head.log").open("wb")
    subprocess.run(
        [*start, f"--autoscaling-config={config}"], env=environment | head, stdout=log, stderr=log, check=True
    )
    run = [sys.executable, "-m", "orchestrator", "run", "sweep.yaml", "--storage", "results", "--address", "auto"]
    return subprocess.run(run, env=environment, cwd=home, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
