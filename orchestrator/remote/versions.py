"""The installed versions, and the consequences if two machines of one sweep differ."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from orchestrator.remote.check import Check

SAME_EVERYWHERE = "install the same constraints.txt and clone on both; with cluster.yaml, `ray up` again does so"


@dataclass(frozen=True)
class Versions:
    """The versions on one machine; `missing` for a package that is not installed."""

    paretune: str  # with a digest of its sources, since a clone's version stays while its code changes
    ray: str
    python: str
    torch: str

    def differing(self, other: Versions) -> list[tuple[str, str, str]]:
        """(name, own, other version) of each relevant difference: not Python's patch level, nor torch's GPU build."""
        here, there = asdict(self), asdict(other)
        return [(name, here[name], there[name]) for name in here if _core(name, here) != _core(name, there)]


def installed_versions() -> Versions:
    """The versions on this machine, read without importing packages that may be broken."""
    names = {field.name: _version(field.name) for field in fields(Versions)}
    names |= {"paretune": f"{names['paretune']} ({_digest_of_sources()})", "python": platform.python_version()}
    return Versions(**names)


def check_client(client: Versions, cluster: Versions) -> Check:
    """Whether client and cluster have the same versions. Another Paretune may read the same sweep file differently."""
    differing = client.differing(cluster)
    if not differing:
        return Check("ok", "versions", f"client and cluster have the same: {_listed(cluster)}")
    found = "; ".join(f"{name} is {here} here and {there} on the cluster" for name, here, there in differing)
    if "paretune" in (name for name, _, _ in differing):
        found += ": the cluster may run other trials than `plan` shows here"
        return Check("problem", "versions", found, SAME_EVERYWHERE)
    return Check("note", "versions", f"{found}: a model from the cluster may not load here", SAME_EVERYWHERE)


def check_node(node: Versions, head: Versions, address: str) -> Check | None:
    """The differences of a node from the head, as they would run one sweep with different code. None: no difference."""
    differing = node.differing(head)
    if not differing:
        return None
    found = "; ".join(f"{name} is {here}, but {there} on the head" for name, here, there in differing)
    return Check("problem", "versions", found, SAME_EVERYWHERE, address)


def _listed(versions: Versions) -> str:
    return ", ".join(f"{name} {version}" for name, version in asdict(versions).items())


def _core(name: str, versions: dict[str, str]) -> str:
    match name:
        case "python":
            return ".".join(versions[name].split(".")[:2])
        case "torch":
            return versions[name].partition("+")[0]
        case _:
            return versions[name]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _digest_of_sources() -> str:
    """Eight hexadecimal digits over the sources of all three packages."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for package in ("orchestrator", "paretune", "trainables"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:8]
