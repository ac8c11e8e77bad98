"""Checks this machine, and names a way out for each problem. It only reports; it changes nothing.

Every check is a value. `doctor_nodes` runs the same checks on every node of a cluster. Packages that may be missing or
broken are imported inside the check that needs them, and a failing import is itself reported.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sysconfig
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.remote.check import Check
from orchestrator.remote.doctor_host import check_surroundings
from orchestrator.remote.token import ClusterError, auth_token
from trainables.error_text import first_line
from trainables.redact import without_credentials

OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 2 * 2**30  # free disk space for converted data and the models of a small sweep
REINSTALL = "pip install -c constraints.txt . in the clone"


def check_here(storage: str | None) -> Iterator[Check]:
    """The checks of this machine alone, as `paretune run` would find it."""
    yield from check_surroundings()
    yield from check_machine()
    yield check_token()
    yield _checked("mlflow", lambda: check_mlflow(os.environ.get("MLFLOW_TRACKING_URI"), storage))
    if storage is not None:
        yield _checked("storage", lambda: check_storage(storage))


def _checked(subject: str, check: Callable[[], Check]) -> Check:
    """Turn an import error into a finding: a missing package, or one whose libraries do not load."""
    try:
        return check()
    except (ImportError, OSError) as error:
        return Check("problem", subject, first_line(error), REINSTALL)


# -- one machine ------------------------------------------------------------------------------------------------------


def check_machine() -> list[Check]:
    """The checks of this machine's Python, packages, compiler, accelerator and disk."""
    return [
        check_python(),
        _checked("packages", check_packages),
        check_compiler(),
        _checked("accelerator", check_accelerator),
        _checked("disk", check_cache),
    ]


def check_cache() -> Check:
    """The check of the folder for converted data."""
    from trainables.data.fingerprint import NoHomeError, default_cache

    try:
        return check_disk(default_cache())
    except NoHomeError:
        way_out = "set PARETUNE_CACHE, or HOME, to a folder that can be written"
        return Check("problem", "disk", "no folder for converted data, as this user has no known home", way_out)


def check_python() -> Check:
    version = platform.python_version()
    if tuple(map(int, platform.python_version_tuple()[:2])) < OLDEST_PYTHON:
        return Check("problem", "python", version, "install Python {}.{} or later".format(*OLDEST_PYTHON))
    return Check("ok", "python", version)


def check_packages() -> Check:
    """Whether the installed packages satisfy the project's requirements."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(text) for text in importlib.metadata.requires("paretune") or ()]
    except importlib.metadata.PackageNotFoundError:
        return Check("problem", "packages", "paretune is not installed", REINSTALL)
    wrong = []
    for requirement in required:
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue  # a requirement of an extra, or of another platform
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        if installed == "missing" or not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} is {installed}, {requirement.specifier} is needed")
    if wrong:
        return Check("problem", "packages", "; ".join(wrong), REINSTALL)
    return Check(
        "ok", "packages", f"ray {importlib.metadata.version('ray')}, torch {importlib.metadata.version('torch')}"
    )


def check_compiler() -> Check:
    """Check the compiler: torch.compile builds C++ with Python's headers, and a sweep compares compiled latencies."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++")), None)
    way_out = "install one (`apt-get install g++`), or name it in CXX"
    if compiler is None or shutil.which(compiler) is None:
        return Check("problem", "compiler", f"no C++ compiler ({compiler or 'g++'})", way_out)
    if error := _build_error(compiler, "#include <vector>\nint main() { return std::vector<int>(1).back(); }\n"):
        return Check("problem", "compiler", f"{compiler} cannot build a program: {error}", way_out)
    headers = sysconfig.get_path("include")
    if error := _build_error(compiler, "#include <Python.h>\nint main() { return 0; }\n", f"-I{headers}"):
        way_out = f"install Python's headers (`apt-get install python{sysconfig.get_python_version()}-dev`)"
        return Check("problem", "compiler", f"{compiler} cannot use Python.h of {headers}: {error}", way_out)
    return Check("ok", "compiler", str(shutil.which(compiler)))


def _build_error(compiler: str, program: str, *options: str) -> str:
    """The end of the compiler's output, as one line, if it cannot build the program; empty if it can."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "check.cpp")
        source.write_text(program)
        build = [compiler, *options, str(source), "-o", str(source.with_suffix(".out"))]
        done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return " ".join(done.stderr.split())[-200:] or f"it ends with {done.returncode}"


def check_accelerator() -> Check:
    """Check the GPUs: if the driver sees one and torch does not, the build of torch or the driver is wrong."""
    import torch

    if torch.cuda.is_available():
        names = sorted({torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())})
        return Check("ok", "accelerator", f"{torch.cuda.device_count()} x {', '.join(names)}")
    if shutil.which("nvidia-smi"):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
        if listed.returncode == 0 and "GPU" in listed.stdout:
            way_out = "install a torch built for CUDA, or a driver that is new enough for this one"
            return Check(
                "problem", "accelerator", f"nvidia-smi sees a GPU, torch {torch.__version__} does not", way_out
            )
    return Check("note", "accelerator", f"none; trials run on {os.cpu_count()} CPU cores")


def check_disk(folder: Path) -> Check:
    """Check that `folder` can be written, and the free space there; the folder need not exist yet."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    finding = f"{free / 2**30:.1f} GiB free for {folder}"
    if not os.access(existing, os.W_OK):
        return Check("problem", "disk", f"{existing} cannot be written", "set PARETUNE_CACHE to a folder that can")
    if free < LEAST_FREE_BYTES:
        return Check("problem", "disk", finding, "make room, or set PARETUNE_CACHE to a folder on a larger disk")
    return Check("ok", "disk", finding)


def check_token() -> Check:
    """Check where the token comes from, and whether other users can read it. Never shows the token itself."""
    try:
        token = auth_token()
    except ClusterError as error:
        return Check("problem", "token", str(error), "write it there, or unset RAY_AUTH_TOKEN_PATH")
    if token is None:
        return Check(
            "note", "token", "none; a cluster that asks for one will refuse", "`ray get-auth-token --generate`"
        )
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Check("ok", "token", "from RAY_AUTH_TOKEN")
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if path.stat().st_mode & 0o077:
        return Check("note", "token", f"from {path}, which other users of this machine can read", f"chmod 600 {path}")
    return Check("ok", "token", f"from {path}")


def check_mlflow(tracking_uri: str | None, storage: str | None = None) -> Check:
    """Check that MLflow can record there: the server answers and accepts the credentials; the database is intact and of
    the installed MLflow's version. Without an address, the database file in the storage or ./paretune-results.
    """
    from orchestrator.remote.tracking import DEFAULT_STORAGE, default_tracking_uri, trouble_with

    if not tracking_uri:
        from trainables.storage import Storage

        try:
            trouble = trouble_with(default_tracking_uri(Storage(storage or DEFAULT_STORAGE)))
        except ValueError as error:
            return Check("problem", "mlflow", str(error), "choose another --storage")
        if trouble:
            return Check("problem", "mlflow", trouble.finding, trouble.way_out)
        return Check("ok", "mlflow", "MLFLOW_TRACKING_URI is not set: a SQLite file in each storage")

    if trouble := trouble_with(tracking_uri):
        return Check("problem", "mlflow", trouble.finding, trouble.way_out)
    shown = without_credentials(tracking_uri)
    if not tracking_uri.startswith(("http://", "https://")):
        return Check("note", "mlflow", f"{shown} is not a server; it is opened where the sweep's driver runs")
    return Check("ok", "mlflow", shown)


def check_storage(storage: str) -> Check:
    """Check the storage: write, read and delete a file there."""
    from trainables.storage import Storage

    name = f"doctor-{uuid.uuid4().hex}"
    try:
        place = Storage(storage)
        place.write(name, b"probe")
        content = place.read(name)
        place.remove(name)
    except (OSError, ValueError) as error:
        what = without_credentials(first_line(error))
        return Check("problem", "storage", what, "choose another --storage, or correct its permissions")
    if content != b"probe":
        return Check("problem", "storage", f"{place.label} returns other bytes than were written", "choose another")
    return Check("ok", "storage", f"{place.label} can be written")
