"""cluster.yaml: Ray takes it, its commands are sound, and what it opens and pins is what it says."""

from __future__ import annotations

import copy
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import cli as ray_cli
from ray.scripts.scripts import start as ray_start

from tests.support.places import ROOT
from tests.support.snippets import commands as documented_commands

CLONE = ROOT
CONFIG: dict[str, Any] = yaml.safe_load((CLONE / "cluster.yaml").read_text())
COMMANDS = [
    (section, command)
    for section in ("setup_commands", "head_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    for command in CONFIG[section]
]


def commands_with(text: str) -> list[str]:
    return [command for _, command in COMMANDS if text in command]


def test_ray_accepts_the_file() -> None:
    """The two steps that `ray up` takes before it speaks to AWS."""
    validate_config(prepare_config(copy.deepcopy(CONFIG)))


def test_a_mistake_would_be_seen() -> None:
    wrong = {**copy.deepcopy(CONFIG), "idle_timeout_minuets": 5}
    with pytest.raises(Exception, match="idle_timeout_minuets"):
        validate_config(prepare_config(wrong))


@pytest.mark.parametrize(("section", "command"), COMMANDS)
def test_commands_are_valid_shell(section: str, command: str) -> None:
    subprocess.run(["bash", "-n"], input=command, text=True, check=True)


def test_every_start_of_ray_has_valid_options_and_the_token() -> None:
    starts = commands_with("ray start")
    assert len(starts) == 2
    for command in starts:
        assert "RAY_AUTH_MODE=token" in command
        arguments = shlex.split(command[command.index("ray start") :])[2:]
        ray_start.make_context("start", arguments)  # Ray's own parser
    assert "~/.ray/auth_token" in CONFIG["file_mounts"]


@pytest.mark.parametrize("command", [line for line in documented_commands() if line.startswith("ray ")])
def test_the_documented_commands_are_rays(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    ray_cli.commands[name].make_context(name, arguments)  # Ray's own parser


def test_only_ssh_is_open() -> None:
    """Ray adds ssh and traffic within the group to a new group of firewall rules; the file must add nothing."""
    assert CONFIG["provider"]["security_group"].keys() == {"GroupName"}
    assert all("SecurityGroupIds" not in node["node_config"] for node in CONFIG["available_node_types"].values())
    everything = (CLONE / "cluster.yaml").read_text()
    assert not re.search(r"(?<![\d.])0\.0\.0\.0", everything)
    assert "--dashboard-host=127.0.0.1" in commands_with("ray start --head")[0]
    assert "--host 127.0.0.1" in commands_with("mlflow server")[0]


def test_versions_come_from_the_constraints() -> None:
    installs = commands_with("pip install")
    assert installs
    assert all(re.search(r"--constraint \S*constraints\.txt", command) for command in installs)
    pins = dict(line.split("==") for line in (CLONE / "constraints.txt").read_text().splitlines() if "==" in line)
    assert pins["ray"] == ray.__version__
    assert {"torch", "mlflow", "boto3"} <= pins.keys()


def test_all_that_the_installation_reads_is_sent() -> None:
    sent = {local for local in CONFIG["file_mounts"].values() if not local.startswith("~")}
    packages = {"trainables", "orchestrator", "paretune"}
    assert sent == {"constraints.txt", "pyproject.toml", "README.md", "LICENSE", *packages}
    assert all((CLONE / local).exists() for local in sent)


def test_gpu_machines_come_and_go_with_the_work() -> None:
    head, gpu = (CONFIG["available_node_types"][name] for name in ("head", "gpu"))
    assert CONFIG["head_node_type"] == "head"
    assert head["resources"] == {"CPU": 0}
    assert (gpu["min_workers"], gpu["max_workers"]) == (0, CONFIG["max_workers"])
    assert CONFIG["max_workers"] > 0


def test_gpu_machines_start_from_the_image_of_the_head(tmp_path: Path) -> None:
    """The command that rewrites the head's configuration, run for real; only the metadata service is made up."""
    (command,) = commands_with("meta-data/ami-id")
    written = tmp_path / "ray_bootstrap_config.yaml"
    written.write_text(json.dumps(prepare_config(copy.deepcopy(CONFIG))))
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/bash\ncase "$*" in\n*PUT*) echo the-token;;\n*the-token*ami-id) echo ami-123;;\nesac\n')
    curl.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["bash", "-c", command], env=environment, check=True)
    nodes = json.loads(written.read_text())["available_node_types"]
    assert {node["node_config"]["ImageId"] for node in nodes.values()} == {"ami-123"}
