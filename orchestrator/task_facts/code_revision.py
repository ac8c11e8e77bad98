"""The revision of the code that determines a result: part of every trial's id, so that changed code means new trials.

It covers our own `trainables` package, the versions of the libraries whose numerics decide a result, and a user's code
(orchestrator.task_facts.user_code). Only what Python runs counts (orchestrator.task_facts.code_digest): a comment, a
docstring or another layout changes no id. Any other edit does, also one that would have changed no result: a training
that is run again costs time, a result that is reused wrongly is wrong.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from orchestrator.task_facts.code_digest import code_digest
from orchestrator.task_facts.user_code import UserCode

LIBRARIES = ("torch", "torchao", "torch-pruning")


def code_revision(user: UserCode | None = None) -> str:
    """Sixteen hexadecimal digits over our own sources, the libraries' versions and the user's code."""
    user = user or UserCode()
    digest = hashlib.sha256(own_revision().encode())
    for line in sorted({*(f"{file.name} {_digest(file.path)}" for file in user.files), *user.dependencies}):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()[:16]


def revision_with(revision: str, others: Iterable[UserCode]) -> str:
    """A revision, and that of code which the settings of a sweep name, as one of sixteen digits."""
    return hashlib.sha256("\n".join([revision, *map(code_revision, others)]).encode()).hexdigest()[:16]


@functools.cache
def own_revision() -> str:
    """Digest of the `trainables` sources and of the versions of the libraries; read once per process."""
    import trainables

    root = Path(trainables.__path__[0])
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        digest.update(f"{path.relative_to(root).as_posix()} {_digest(path)}\n".encode())
    for library in LIBRARIES:
        digest.update(f"{library} {_version(library)}\n".encode())
    return digest.hexdigest()


def _digest(path: Path) -> str:
    return code_digest(path.read_bytes())


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"
