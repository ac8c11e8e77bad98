"""The sweeps that were submitted to a cluster, from its job server's list, and the search for one by id or name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from orchestrator.remote.token import ClusterError
from trainables.errors import InputError

SWEEP, STORAGE = "paretune_sweep", "paretune_storage"  # keys of the metadata that `submit` stores with a job
SHOWN = 20  # newest jobs listed if a name is not found

JobState = Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]


class UnknownJobError(ClusterError, InputError):
    """The cluster has no such job, or several; the message names those that it has."""


@dataclass(frozen=True)
class SubmittedSweep:
    """One job. Times are milliseconds since 1970, by the clock of the cluster's head."""

    id: str
    sweep: str
    storage: str
    state: JobState
    started_ms: int | None
    ended_ms: int | None

    @property
    def is_at_work(self) -> bool:
        return self.state in ("PENDING", "RUNNING")

    @property
    def since_ms(self) -> int | None:
        """When the job entered its current state."""
        return self.started_ms if self.is_at_work else self.ended_ms

    def as_json(self) -> dict[str, Any]:
        """The job as JSON for a script; times are ISO 8601, UTC."""
        return {
            "id": self.id,
            "sweep": self.sweep,
            "storage": self.storage,
            "status": self.state,
            "started": iso(self.started_ms),
            "ended": iso(self.ended_ms),
        }


def submitted_sweeps(jobs: Iterable[Mapping[str, Any]]) -> list[SubmittedSweep]:
    """The jobs of a job server that `submit` has sent for a sweep, newest first."""
    sweeps = [
        SubmittedSweep(
            id=job["submission_id"],
            sweep=job["metadata"][SWEEP],
            storage=job["metadata"][STORAGE],
            state=job["status"],
            started_ms=job.get("start_time"),
            ended_ms=job.get("end_time"),
        )
        for job in jobs
        if SWEEP in (job.get("metadata") or {}) and job.get("submission_id")
    ]
    return sorted(sweeps, key=lambda sweep: sweep.started_ms or 0, reverse=True)


def find(sweeps: Sequence[SubmittedSweep], name: str) -> SubmittedSweep:
    """A job by its id, or by its sweep's name: then the running job, else the newest. Raises UnknownJobError.

    If two jobs of one name are running (in two storages), the id is needed.
    """
    if exact := [sweep for sweep in sweeps if sweep.id == name]:
        return exact[0]
    named = [sweep for sweep in sweeps if sweep.sweep == name]
    at_work = [sweep for sweep in named if sweep.is_at_work]
    if len(at_work) > 1:
        raise UnknownJobError(f"several jobs run a sweep {name!r}: give one of {', '.join(job.id for job in at_work)}")
    if named:
        return (at_work or named)[0]
    if not sweeps:
        raise UnknownJobError(f"no job {name!r}: no sweep has been submitted to this cluster since it started")
    names = list(dict.fromkeys(word for sweep in sweeps for word in (sweep.id, sweep.sweep)))
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise UnknownJobError(
        f"no job {name!r}, and no sweep of that name was submitted; jobs: "
        f"{', '.join(sweep.id for sweep in sweeps[:SHOWN])}{hint}"
    )


def iso(time_ms: int | None) -> str | None:
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")


def clock(time_ms: int | None) -> str:
    """A time as text, in this machine's time zone."""
    return "?" if time_ms is None else f"{datetime.fromtimestamp(time_ms / 1000):%Y-%m-%d %H:%M:%S}"
