"""What `submit` asks of a cluster, and what it refuses to send."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from orchestrator.remote.job_request import LARGEST_FILE_BYTES, JobRequest, request_for_doctor, request_for_sweep


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    folder = tmp_path / "my sweeps"
    folder.mkdir()
    file = folder / "a sweep.yaml"
    file.write_text("name: small\n")
    return file


def requested(sweep_file: Path, **options: object) -> JobRequest:
    return request_for_sweep(sweep_file, "small", options.pop("storage", "/srv/results"), **options)  # type: ignore[arg-type]


def test_the_command_survives_the_shell_of_the_cluster(sweep_file: Path) -> None:
    request = requested(sweep_file, storage="s3://bucket/a b;rm -rf $HOME")
    assert tuple(shlex.split(request.entrypoint)) == request.command
    assert request.command[3:5] == ("run", "a sweep.yaml")
    assert request.command[request.command.index("--storage") + 1] == "s3://bucket/a b;rm -rf $HOME"


def test_the_sweep_is_named_from_the_folder_that_is_sent(sweep_file: Path) -> None:
    assert requested(sweep_file).working_dir == sweep_file.parent
    wider = requested(sweep_file, working_dir=sweep_file.parent.parent)
    assert wider.command[4] == "my sweeps/a sweep.yaml"
    (sweep_file.parent / "elsewhere").mkdir()
    with pytest.raises(ValueError, match="not inside the working directory"):
        requested(sweep_file, working_dir=sweep_file.parent / "elsewhere")


def test_two_submissions_have_different_names(sweep_file: Path) -> None:
    assert requested(sweep_file).submission_id != requested(sweep_file).submission_id
    assert requested(sweep_file, submission_id="mine-1").submission_id == "mine-1"


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "x" * 101, "-x", "a;b"])
def test_a_name_that_would_not_fit_a_url_is_refused(sweep_file: Path, name: str) -> None:
    if name == "":
        assert requested(sweep_file, submission_id=name).submission_id.startswith("small-")
        return
    with pytest.raises(ValueError, match="submission-id"):
        requested(sweep_file, submission_id=name)


@pytest.mark.parametrize("storage", [None, "", "results", "./results"])
def test_storage_must_mean_the_same_on_every_node(sweep_file: Path, storage: str | None) -> None:
    with pytest.raises(ValueError, match="--storage"):
        requested(sweep_file, storage=storage)
    if storage:
        with pytest.raises(ValueError, match="--storage"):
            request_for_doctor(storage)


def test_the_environment_is_passed_on(sweep_file: Path) -> None:
    request = requested(
        sweep_file, env=["A=1", "B=x=y", "TOKENIZERS_PARALLELISM=false"], tracking_uri="http://mlflow:5000"
    )
    assert request.runtime_env["env_vars"] == {
        "PYTHONUNBUFFERED": "1",
        "RAY_JOB_STOP_WAIT_TIME_S": "60",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "A": "1",
        "B": "x=y",
        "TOKENIZERS_PARALLELISM": "false",
    }


def test_only_a_servers_address_is_passed_on(sweep_file: Path) -> None:
    """A laptop's database, or a path on it, would take the place of the cluster's own server."""
    for uri in ("sqlite:////home/me/mlflow.db", "/home/me/runs", "postgresql://me:hunter2@db/mlflow", "databricks"):
        for request in (requested(sweep_file, tracking_uri=uri), request_for_doctor(None, uri)):
            assert "MLFLOW_TRACKING_URI" not in request.environment
            (note,) = request.notes
            assert "not passed on" in note
            assert "--env MLFLOW_TRACKING_URI=" in note
            assert "hunter2" not in note


def test_what_is_asked_for_is_passed_on_without_a_word(sweep_file: Path) -> None:
    given = "sqlite:////shared/mlflow.db"
    request = requested(sweep_file, tracking_uri="sqlite:///mine.db", env=[f"MLFLOW_TRACKING_URI={given}"])
    assert (request.environment["MLFLOW_TRACKING_URI"], request.notes) == (given, ())
    assert requested(sweep_file, tracking_uri="https://mlflow").notes == ()
    assert requested(sweep_file).notes == ()


@pytest.mark.parametrize("uri", ["http://localhost:5000", "http://127.0.0.1:5000", "http://[::1]:5000"])
def test_a_server_on_loopback_is_passed_on_and_it_is_said_what_it_means(sweep_file: Path, uri: str) -> None:
    request = requested(sweep_file, tracking_uri=uri)
    assert request.environment["MLFLOW_TRACKING_URI"] == uri
    (note,) = request.notes
    assert uri in note
    assert "on the cluster it means the head node" in note


@pytest.mark.parametrize(
    "options",
    [
        {"tracking_uri": "http://user:hunter2@mlflow:5000"},
        {"storage": "s3://id:hunter2@bucket/results"},
        {"storage": "abfss://results@account.dfs.core.windows.net/sweeps?sv=1&sig=hunter2"},
        {"tracking_uri": "http://mlflow:5000?access_token=hunter2"},
        {"env": ["AWS_SECRET_ACCESS_KEY=hunter2"]},
        {"env": ["MLFLOW_TRACKING_PASSWORD=hunter2"]},
        {"env": ["RAY_AUTH_TOKEN=hunter2"]},
        {"env": ["my_api_key=hunter2"]},
        {"env": ["DATABASE=postgresql://user:hunter2@host/db"]},
    ],
)
def test_secrets_are_refused_and_not_repeated(sweep_file: Path, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="dashboard") as refused:
        requested(sweep_file, **options)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "storage", ["abfss://results@account.dfs.core.windows.net/x", "s3://bucket/x?region=eu-west-1"]
)
def test_an_address_without_secrets_is_sent_as_it_is(sweep_file: Path, storage: str) -> None:
    assert storage in requested(sweep_file, storage=storage).command


@pytest.mark.parametrize("assignment", ["A", "=1", "1A=2", "A B=1"])
def test_env_must_be_an_assignment(sweep_file: Path, assignment: str) -> None:
    with pytest.raises(ValueError, match="KEY=VALUE"):
        requested(sweep_file, env=[assignment])


def test_large_files_stay_here_and_are_named(sweep_file: Path) -> None:
    folder = sweep_file.parent
    for name in ("data/large.parquet", ".venv/large.so", "small.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        with open(folder / name, "wb") as file:
            os.truncate(file.fileno(), LARGEST_FILE_BYTES + 1 if "large" in name else 10)
    request = requested(sweep_file)
    assert request.left_out == ("data/large.parquet",)
    excludes = request.runtime_env["excludes"]
    assert {"/data/large.parquet", ".venv/", ".git/", "paretune-results/"} <= set(excludes)


@pytest.mark.parametrize("folder", [Path("/"), Path.home()])
def test_a_whole_machine_is_not_sent(sweep_file: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="too large to send"):
        requested(sweep_file, working_dir=folder)
