"""Secrets that a sweep needs are used, and are in no file: not in Ray's, nor in the storage, nor in MLflow's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest
import ray
from pyarrow import fs

from orchestrator.machine.ray_folder import RAY_FOLDER_PREFIX
from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow.recorder import Recorder
from orchestrator.running.executor import run_sweep
from orchestrator.running.ray_connection import RaySettings, connected
from orchestrator.running.tuner import RayExecutor
from tests.support.bucket import bucket
from tests.support.one_ray import SEARCH_PATH
from tests.support.recorded import MLFLOW_WARNINGS, storage_with_database
from tests.support.scripted import RUNNER, scripted, sweep_of
from trainables.results import Status
from trainables.storage import Storage, within

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning", *MLFLOW_WARNINGS
    ),
]

IN_THE_ADDRESS, IN_THE_ENVIRONMENT = "planted-in-the-address", "planted-in-the-environment"
OF_THE_ENVIRONMENT = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN")


def test_a_planted_secret_is_in_no_file(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an AWS_ACCESS_KEY_ID the bucket opens only to who has the whole address, so the workers had it."""
    home = tmp_path / "home"
    home.mkdir()
    for name in OF_THE_ENVIRONMENT:
        monkeypatch.setenv(name, IN_THE_ENVIRONMENT)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    recorded = storage_with_database(tmp_path / "recorded", database)
    trials = [scripted(0), scripted(1, fail="raise", at=2)]
    with bucket() as uri, connected(RaySettings(num_cpus=1), SEARCH_PATH):
        storage = Storage(within(uri.replace("key:secret", f"key:{IN_THE_ADDRESS}"), "results"))
        plan = sweep_of(*trials)
        with Journal(storage, plan.sweep.name) as journal:
            recorder = Recorder(journal, f"sqlite:///{recorded.root}/mlflow.db", plan)
            results = run_sweep(plan, storage, journal, RayExecutor(runner=RUNNER)).results
            assert recorder.close(120.0) is None
        assert [results[trial.id].status for trial in trials] == [Status.COMPLETED, Status.FAILED]
        session = Path(ray._private.worker._global_node.get_session_dir_path())
        folder = next(parent for parent in session.parents if parent.name.startswith(RAY_FOLDER_PREFIX))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        written = {str(file): file.read_bytes() for file in files(folder, tmp_path)}
        assert {"runtime_env_agent.log", "gcs_server.out", "mlflow.db", "result.json"} <= {
            Path(name).name for name in written
        }
        found = storage.filesystem.get_file_info(fs.FileSelector(storage.root, recursive=True))
        written |= {info.path: read(storage, info.path) for info in found if info.is_file}
        secrets = [text.encode() for text in (IN_THE_ADDRESS, IN_THE_ENVIRONMENT, os.environ["RAY_AUTH_TOKEN"])]
        assert [name for name, content in written.items() if any(secret in content for secret in secrets)] == []
    assert not folder.exists()
    assert list(home.rglob("*token*")) == []  # Ray by itself leaves one there, for everyone to read


def files(*folders: Path) -> Iterable[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def read(storage: Storage, path: str) -> bytes:
    with storage.filesystem.open_input_stream(path) as stream:
        content: bytes = stream.read()
    return content
