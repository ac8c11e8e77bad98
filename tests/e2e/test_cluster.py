"""A sweep on a cluster: a real Ray head with its token, a real MLflow server, a client that knows only addresses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import ray
import requests
from ray.job_submission import JobSubmissionClient

from orchestrator.exit_codes import RUNNING_ELSEWHERE
from orchestrator.recording.journal import Journal
from orchestrator.remote.job_request import JobRequest
from orchestrator.remote.jobs import JobEnd, JobServer
from orchestrator.remote.token import auth_token
from tests.support.loopback import CLONE, PARETUNE, Head, clean_environment, mlflow_server, paretune, ray_head
from tests.support.severed import severing_proxy
from trainables.storage import Storage

pytestmark = pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning")  # Ray's client gives it

DIGITS = CLONE / "examples" / "digits.yaml"
SHORT = """
name: digits
task: digits_cnn
objective: {metric: val_accuracy}
budget: {examples: 1500}
evaluations: 2
parameters:
  batch_size: {values: [32, 128]}
  learning_rate: {base: 0.05, at_batch_size: 64, rule: sqrt}
  seed: {values: [0, 1]}
compression: {parents: {top: 1}, variants: [{prune: {ratio: 0.5}}]}
"""  # the demo itself takes minutes


@pytest.fixture(scope="module")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    with ray_head(folder, {"PARETUNE_CACHE": str(folder / "cache")}) as head:
        yield head


@pytest.fixture
def server(head: Head) -> JobServer:
    return JobServer(head.address, auth_token(head.environment))


@pytest.fixture
def ray_jobs(head: Head) -> JobSubmissionClient:
    """Ray's own view of the jobs."""
    return JobSubmissionClient(head.address, headers={"Authorization": f"Bearer {auth_token(head.environment)}"})


def shell_job(name: str, script: str) -> JobRequest:
    return JobRequest(submission_id=name, command=("bash", "-c", script), environment={})


# -- the whole way ----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside MLflow's own modules, while they are imported
def test_a_sweep_is_submitted_recorded_and_compared(
    head: Head, tracking_uri: str, tmp_path: Path, server: JobServer
) -> None:
    storage = str(tmp_path / "shared")
    environment = {**head.environment, "MLFLOW_TRACKING_URI": tracking_uri}
    file = tmp_path / "digits.yaml"
    where = "{accelerator_type: L4, node_labels: {zone: here}, max_concurrent_trials: 2}"
    file.write_text(f"{SHORT}\nresources: {where}\n")
    submit = ["submit", str(file), "--address", head.address, "--storage", storage]
    submit += ["--env", f"PARETUNE_CACHE={tmp_path / 'cache'}", "--env", f"PYTHONPATH={tmp_path}"]
    submitted = paretune(*submit, "--submission-id", "digits-1", environment=environment, cwd=tmp_path, timeout=1500)
    assert submitted.returncode == 0, submitted.stdout[-3000:] + submitted.stderr[-3000:]
    assert (tmp_path / "cache" / "tables").is_dir(), "what is said with --env reaches the workers"

    compare = ["compare", "digits", "--storage", storage, "--format", "json"]
    compared = paretune(*compare, environment=clean_environment(), cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    comparison = json.loads(compared.stdout)
    trials = {trial["id"]: trial for trial in comparison["trials"]}
    assert {trial["status"] for trial in trials.values() if trial["kind"] == "baseline"} == {"completed"}
    assert {trial["status"] for trial in trials.values() if trial["kind"] == "variant"} <= {"completed", "goal_missed"}
    assert comparison["recommendation"]["trial"] in trials

    status = ["status", "digits", "--address", head.address, "--format", "json"]
    told = paretune(*status, environment=head.environment, cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    far = json.loads(told.stdout)
    assert (far["id"], far["status"], far["trials"]["running"], far["trials"]["waiting"]) == (
        "digits-1",
        "SUCCEEDED",
        [],
        0,
    )
    assert sum(far["trials"]["ended"].values()) == far["trials"]["total"] == len(trials)
    log = paretune("logs", "digits-1", "--address", head.address, environment=head.environment, cwd=tmp_path)
    assert log.stdout == submitted.stdout, "what was followed is what is kept"

    runs = recorded_runs(tracking_uri)
    assert len(runs) == len(trials)
    assert {status for status, _ in runs} == {"FINISHED"}

    started = time.monotonic()
    again = paretune(*submit, "--submission-id", "digits-2", environment=environment, cwd=tmp_path, timeout=600)
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    assert recorded_runs(tracking_uri) == runs, (
        f"resubmitting ran something again, in {time.monotonic() - started:.0f} s"
    )


def recorded_runs(tracking_uri: str, sweep: str = "digits") -> list[tuple[str, int]]:
    """Status and start time of every run that the server has of a sweep."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name(sweep)
    assert experiment is not None
    return sorted((run.info.status, run.info.start_time) for run in client.search_runs([experiment.experiment_id]))


def test_doctor_looks_at_every_node(head: Head, tracking_uri: str, tmp_path: Path) -> None:
    doctor = ["doctor", "--address", head.address, "--storage", str(tmp_path / "shared")]
    environment = {**head.environment, "MLFLOW_TRACKING_URI": tracking_uri}
    done = paretune(*doctor, environment=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ok       mlflow      {tracking_uri}" in done.stdout
    assert "1 alive" in done.stdout
    assert "ok       versions    client and cluster have the same: paretune 0.1.0 (" in done.stdout
    assert "is the same place for all 1 nodes" in done.stdout

    (tmp_path / "a-file").touch()
    doctor[-1] = str(tmp_path / "a-file")
    broken = paretune(*doctor, environment=head.environment, cwd=tmp_path)
    assert broken.returncode == 1
    assert "problem  storage" in broken.stdout


def test_the_servers_that_cluster_yaml_starts_are_not_open_to_others(head: Head, tracking_uri: str) -> None:
    """A web page that a person opens must not reach MLflow by a host name of its own, nor the network either server."""
    search = f"{tracking_uri}/api/2.0/mlflow/experiments/search"
    assert requests.post(search, json={"max_results": 1}, timeout=30).status_code == 200
    rebound = requests.post(search, json={"max_results": 1}, headers={"Host": "evil.example"}, timeout=30)
    assert rebound.status_code == 403
    for address in (head.address, tracking_uri):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((ray.util.get_node_ip_address(), urlsplit(address).port), timeout=5)


# -- when something is in the way -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RAY_AUTH_TOKEN": "0" * 64}, "refuses the token"),
        ({"RAY_AUTH_MODE": "disabled"}, "requires a token"),
        ({"RAY_AUTH_TOKEN_PATH": "/nowhere/token"}, "cannot be read"),
    ],
)
def test_without_the_right_token(head: Head, tmp_path: Path, changes: dict[str, str], message: str) -> None:
    submit = ["submit", str(DIGITS), "--address", head.address, "--storage", str(tmp_path)]
    done = paretune(*submit, environment={**head.environment, **changes}, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "0" * 64 not in done.stdout + done.stderr


def test_a_server_that_is_not_rays(tracking_uri: str, tmp_path: Path) -> None:
    submit = ["submit", str(DIGITS), "--address", tracking_uri, "--storage", str(tmp_path)]
    done = paretune(*submit, environment=clean_environment(), cwd=tmp_path)
    assert done.returncode == 1
    assert "is not a Ray job server" in done.stderr


def test_a_sweep_whose_nodes_there_are_not_is_refused(head: Head, tmp_path: Path) -> None:
    file = tmp_path / "digits.yaml"
    file.write_text(DIGITS.read_text() + "\nresources: {node_labels: {zone: there}}\n")
    submit = ["submit", str(file), "--address", head.address, "--storage", str(tmp_path / "shared")]
    done = paretune(*submit, environment=head.environment, cwd=tmp_path)
    assert done.returncode == 2
    assert "resources.node_labels is {zone: there}, but no node of the cluster has all of these" in done.stdout
    assert "zone: here" in done.stdout


def test_a_sweep_that_another_driver_runs_has_not_failed(head: Head, tmp_path: Path) -> None:
    submit = ["submit", str(DIGITS), "--address", head.address, "--storage", str(tmp_path), "--submission-id", "second"]
    with Journal(Storage(str(tmp_path)), "digits"):
        done = paretune(*submit, environment=head.environment, cwd=tmp_path)
    assert done.returncode == RUNNING_ELSEWHERE
    assert f"is being run by process {os.getpid()}" in done.stdout
    assert "second has not run any trial: sweep digits is being run already" in done.stderr
    assert "FAILED" not in done.stderr


# -- following a job --------------------------------------------------------------------------------------------------


def test_the_job_decides_the_exit_code_and_knows_no_token(
    head: Head, server: JobServer, ray_jobs: JobSubmissionClient
) -> None:
    server.submit(shell_job("exits", "echo said; exit 7"))
    said: list[str] = []
    assert server.follow("exits", said.append) == JobEnd("FAILED", 7, server.status("exits").message)
    assert "said\n" in "".join(said)
    token = auth_token(head.environment)
    assert token
    assert token not in repr(ray_jobs.list_jobs())


def test_a_name_that_was_used_is_refused(server: JobServer) -> None:
    server.submit(shell_job("once", "true"))
    with pytest.raises(Exception, match="once"):
        server.submit(shell_job("once", "true"))


def test_a_broken_connection_loses_and_repeats_nothing(head: Head, server: JobServer) -> None:
    """The connections are cut every few seconds while the job writes; in the end every line is there once."""
    count = 300
    server.submit(shell_job("counts", f"for i in $(seq {count}); do echo line $i; sleep 0.05; done"))
    said: list[str] = []
    with severing_proxy(head.address, seconds_between_cuts=2.5) as proxy:
        end = JobServer(proxy.address, auth_token(head.environment)).follow("counts", said.append)
    assert proxy.cuts >= 3
    assert end.state == "SUCCEEDED"
    lines = [line for line in "".join(said).splitlines() if line.startswith("line ")]
    assert lines == [f"line {number}" for number in range(1, count + 1)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside MLflow's own modules, while they are imported
def test_interrupting_leaves_the_job_running_until_it_is_stopped_in_order(
    head: Head, tracking_uri: str, server: JobServer, tmp_path: Path
) -> None:
    file = tmp_path / "stopped.yaml"
    file.write_text(DIGITS.read_text().replace("name: digits", "name: stopped"))
    submit = ["submit", str(file), "--address", head.address, "--storage", str(tmp_path), "--submission-id", "goes-on"]
    process = subprocess.Popen(
        [*PARETUNE, *submit],
        env={**head.environment, "MLFLOW_TRACKING_URI": tracking_uri},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As in a terminal: tests that a shell started in the background inherit a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        assert any("] started " in line for line in process.stdout), "it is followed until a trial runs"
        os.kill(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert f"paretune stop goes-on --address {head.address}" in stderr
    assert "Traceback" not in stderr
    assert not server.status("goes-on").is_final
    jobs = ["jobs", "--address", head.address, "--format", "json"]
    listed = json.loads(paretune(*jobs, environment=head.environment, cwd=tmp_path).stdout)
    (job,) = (job for job in listed if job["id"] == "goes-on")
    assert (job["sweep"], job["storage"], job["status"]) == ("stopped", str(tmp_path), "RUNNING")

    stopped = paretune("stop", "stopped", "--address", head.address, environment=head.environment, cwd=tmp_path)
    assert stopped.returncode == 0, stopped.stderr
    assert "goes-on was stopped; submit again to resume the sweep" in stopped.stderr
    assert "run the same command again to resume" in stopped.stdout, "the driver says farewell"
    assert server.status("goes-on").state == "STOPPED"
    statuses = {status for status, _ in recorded_runs(tracking_uri, "stopped")}
    assert "KILLED" in statuses
    assert statuses <= {"KILLED", "FINISHED"}


def test_not_waiting_prints_the_name_alone(head: Head, ray_jobs: JobSubmissionClient, tmp_path: Path) -> None:
    submit = ["submit", str(DIGITS), "--address", head.address, "--storage", str(tmp_path), "--no-wait"]
    done = paretune(*submit, environment=head.environment, cwd=tmp_path)
    assert done.returncode == 0
    name = done.stdout.strip()
    assert name.startswith("digits-")
    assert ray_jobs.get_job_status(name) in ("PENDING", "RUNNING")
    ray_jobs.stop_job(name)
