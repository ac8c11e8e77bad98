"""The request for a job: a command, a working directory, an environment. Built here, sent by `jobs`.

Every user of the cluster's dashboard can read a job's command and environment. So they must not contain secrets: a
password in an address or in `--env` is refused before anything is sent.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.machine.environment import LOOPBACK
from orchestrator.machine.taken_names import taken_name
from orchestrator.remote.submitted import STORAGE, SWEEP
from orchestrator.run_options import RunOptions
from trainables.errors import InputError
from trainables.redact import has_secret, looks_secret, without_credentials

LARGEST_FILE_BYTES = 50 * 2**20  # every node unpacks the folder, so large data belongs on shared storage
SKIPPED_FOLDERS = (
    *(".git", ".venv", "venv", "__pycache__", "node_modules", "paretune-results"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"),
)
STOP_PATIENCE_S = 60  # seconds from SIGTERM to SIGKILL when a job is stopped; Ray's 3 s are too few to shut down


@dataclass(frozen=True)
class JobRequest:
    """One job. `left_out`: files of the folder, relative to it, that are too large to send.

    `notes`: sentences to show before the job is sent. `metadata`: stored with the job by the job server.
    """

    submission_id: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    working_dir: Path | None = None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def entrypoint(self) -> str:
        return shlex.join(self.command)

    @property
    def runtime_env(self) -> dict[str, Any]:
        """The job's runtime environment for Ray. Ray also leaves out files that the folder's .gitignore names."""
        environment = {
            "PYTHONUNBUFFERED": "1",  # otherwise the log arrives late and in large pieces
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_PATIENCE_S),
            **self.environment,
        }
        if self.working_dir is None:
            return {"env_vars": environment}
        excludes = [f"{name}/" for name in SKIPPED_FOLDERS] + [f"/{name}" for name in self.left_out]
        return {"env_vars": environment, "working_dir": str(self.working_dir), "excludes": excludes}


def request_for_sweep(
    sweep_file: Path,
    sweep: str,
    storage: str | None,
    *,
    working_dir: Path | None = None,
    env: Iterable[str] = (),
    tracking_uri: str | None = None,
    submission_id: str | None = None,
    options: RunOptions | None = None,
) -> JobRequest:
    """The request for `paretune run` with this file on the cluster. Raises InputError.

    `tracking_uri`: this machine's MLFLOW_TRACKING_URI, passed on if it is the address of a server.
    """
    folder = _folder_to_send(working_dir or sweep_file.parent)
    try:
        relative = (sweep_file.parent.resolve() / sweep_file.name).relative_to(folder)  # Ray sends a link as a file
    except ValueError as error:
        raise InputError(f"{sweep_file} is not inside the working directory {folder}") from error
    place = _cluster_storage(storage)
    return JobRequest(
        submission_id=_checked_id(submission_id or f"{sweep}-{secrets.token_hex(4)}"),
        command=(
            *("python", "-m", "orchestrator", "run", relative.as_posix()),
            *("--storage", place, "--address", "auto", *(options or RunOptions()).words(), "--plain"),
        ),
        environment=_environment(env, tracking_uri),
        working_dir=folder,
        left_out=tuple(_large_files(folder)),
        notes=_notes(tracking_uri, env),
        metadata={SWEEP: sweep, STORAGE: place},
    )


def request_for_doctor(
    storage: str | None, tracking_uri: str | None = None, client: str | None = None, *, as_json: bool = False
) -> JobRequest:
    """The request for `paretune doctor` inside the cluster. Raises InputError.

    `client`: the versions of this machine as JSON, to be compared there.
    """
    command: tuple[str, ...] = ("python", "-m", "orchestrator", "doctor", "--address", "auto")
    if storage is not None:
        command += ("--storage", _cluster_storage(storage))
    if client is not None:
        command += ("--client", client)
    if as_json:
        command += ("--format", "json")
    name = f"doctor-{secrets.token_hex(4)}"
    environment = _environment((), tracking_uri)
    return JobRequest(submission_id=name, command=command, environment=environment, notes=_notes(tracking_uri))


def request_for_progress(sweep: str, storage: str) -> JobRequest:
    """The request for a sweep's progress; the cluster reads it, as it reaches the storage."""
    command = ("python", "-m", "orchestrator.commands.sweep_status", sweep, storage)
    return JobRequest(submission_id=f"progress-{secrets.token_hex(4)}", command=command, environment={})


def _cluster_storage(storage: str | None) -> str:
    if not storage:
        raise InputError(
            "--storage or PARETUNE_STORAGE is needed: a path or URI that every node of the cluster reaches"
        )
    if "://" not in storage and not storage.startswith(("/", "~")):
        raise InputError(
            f"--storage {storage!r} is a relative path, which means nothing on a cluster; use an absolute path or a URI"
        )
    _refuse_password(storage, "--storage")
    return storage


def _folder_to_send(working_dir: Path) -> Path:
    folder = working_dir.resolve()
    if not folder.is_dir():
        raise InputError(f"the working directory {working_dir} is not a folder")
    if folder in (Path("/"), Path.home().resolve()):
        raise InputError(f"{folder} is too large to send; put the sweep and its modules in a folder of their own")
    if taken := taken_name([folder]):
        raise InputError(taken)
    return folder


def _environment(env: Iterable[str], tracking_uri: str | None) -> dict[str, str]:
    variables = {}
    if tracking_uri and _is_server(tracking_uri):
        _refuse_password(tracking_uri, "MLFLOW_TRACKING_URI")
        variables["MLFLOW_TRACKING_URI"] = tracking_uri
    for assignment in env:
        key, equals, value = assignment.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            raise InputError(f"--env {key!r} is not of the form KEY=VALUE")
        if looks_secret(key, value):
            raise InputError(
                f"--env {key} looks like a secret, and a job's environment is shown in the dashboard; "
                "set it in the environment of `ray start` on the cluster's nodes instead"
            )
        _refuse_password(value, f"--env {key}")
        variables[key] = value
    return variables


def _is_server(tracking_uri: str) -> bool:
    """The address to pass on, if it is a server's: a database or a file would be another one on the cluster."""
    return tracking_uri.lower().startswith(("http://", "https://"))


def _notes(tracking_uri: str | None, env: Iterable[str] = ()) -> tuple[str, ...]:
    """Notes if this machine's MLFLOW_TRACKING_URI is not passed on, or means something else on the cluster."""
    key = "MLFLOW_TRACKING_URI"
    if not tracking_uri or any(assignment.startswith(f"{key}=") for assignment in env):
        return ()
    shown = without_credentials(tracking_uri)
    if not _is_server(tracking_uri):
        way_out = f"the cluster's own is used; --env {key}=... sets another"
        return (f"{key} {shown} is not the address of a server, so it is not passed on: {way_out}",)
    if urlsplit(tracking_uri).hostname in LOOPBACK:
        return (f"{key} {shown} is passed on; on the cluster it means the head node",)
    return ()


def _refuse_password(uri: str, where: str) -> None:
    if has_secret(uri):
        raise InputError(
            f"{where} holds a password or a key, and a job's command and environment are shown in the "
            "dashboard; leave it out and set the credentials where the cluster's nodes find them (for MLflow: "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment of `ray start`)"
        )


def _large_files(folder: Path) -> list[str]:
    large = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        paths = (Path(root, name) for name in files)
        large += [path for path in paths if path.is_file() and path.stat().st_size > LARGEST_FILE_BYTES]
    return sorted(path.relative_to(folder).as_posix() for path in large)


def _checked_id(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", name):
        raise InputError(f"--submission-id {name!r}: letters, digits, `_`, `.` and `-` are allowed, at most 100")
    return name
