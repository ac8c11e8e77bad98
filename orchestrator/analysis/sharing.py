"""Finds trials that shared their machine with other trials of their sweep, so that their seconds may be too long.

Each result records its machine and its times. Unknown, and so not counted: the work of other sweeps and users, failed
trials (they leave no such record), the time before a trial was resumed, and, for a trial on several machines, all but
the machine of its first worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from orchestrator.analysis.effort import SAME
from orchestrator.analysis.table import SweepTable


@dataclass(frozen=True)
class Sharing:
    trainings: tuple[str, ...]  # baselines that shared their machine for over 5 % of their time, in the plan's order
    of: int  # number of baselines for which this is known
    at_once: int  # most trials at the same time on one machine


@dataclass(frozen=True)
class Stay:
    """A trial on a machine, from and to in seconds since 1970."""

    trial: str
    machine: str
    begin: float
    end: float


def sharing(table: SweepTable) -> Sharing | None:
    """None if no training is known to have shared its machine."""
    results = [*(row.result for row in table.rows), *(probe.result for probe in table.probes)]
    stays = [stay for one in results if one is not None and (stay := _stay(one.id, one.environment)) is not None]
    shared, at_once = _company(stays)
    known = {stay.trial: stay.end - stay.begin for stay in stays}
    trainings = [row.id for row in table.rows if row.kind == "baseline" and row.id in known]
    together = tuple(trial for trial in trainings if shared[trial] > (SAME - 1) * known[trial])
    return Sharing(together, len(trainings), at_once) if together else None


def _stay(trial: str, environment: Mapping[str, str]) -> Stay | None:
    machine = environment.get("boot_id", environment.get("node"))
    begin, end = (environment.get(name) for name in ("started_at", "ended_at"))
    if machine is None or begin is None or end is None:
        return None
    stay = Stay(trial, machine, *(datetime.fromisoformat(time).timestamp() for time in (begin, end)))
    return stay if stay.end > stay.begin else None


def _company(stays: Iterable[Stay]) -> tuple[Mapping[str, float], int]:
    """Trial -> the seconds that another trial was on its machine; and the most trials at a time on one machine."""
    seconds, at_once = defaultdict[str, float](float), 0
    there, since = defaultdict[str, set[str]](set), dict[str, float]()
    comings = [(stay.begin, True, stay) for stay in stays]
    goings = [(stay.end, False, stay) for stay in stays]
    for time, comes, stay in sorted((*comings, *goings), key=lambda event: event[:2]):  # ends before starts
        present = there[stay.machine]
        if len(present) > 1:
            for trial in present:
                seconds[trial] += time - since[stay.machine]
        since[stay.machine] = time
        present.add(stay.trial) if comes else present.discard(stay.trial)
        at_once = max(at_once, len(present))
    return seconds, at_once
