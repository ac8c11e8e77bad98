"""How fast the variants of a sweep are: against their parents as measured, and against each other as if at one time.

A machine is now fast, now slow, and the variants are measured one after another: 0.47 ms in a slow minute may be the
faster model than 0.31 ms in a fast one. Each is timed in alternation with its uncompressed parent, though, so that

    time of a variant = its ratio to its parent x the median of what the parents took beside their variants

holds all of them against one speed of the machine. The median is over all parents of one network, that is, of the same
options of the task: how they were trained does not decide how fast they are. What was measured, when it was, stays in
each trial's metrics.

Where the parent timed against itself, the control of each measuring, is off 1 or uncertain, the machine was not quiet:
latencies of that sweep then rank nothing, and are said not to be usable. A goal is about one variant and its parent: it
is not determined where the control of that variant's own measuring was off, whatever the others' were.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median

from orchestrator.analysis.rows import Configuration, Row
from orchestrator.analysis.statistics import Summary
from orchestrator.analysis.table import SweepTable
from trainables.estimate import Estimate
from trainables.measure.latency import is_quiet

CONTROL = "control_latency_ratio_batch_"
P50 = "latency_p50_ms_batch_"
_LATENCY = re.compile(r"latency_\w+_batch_(\d+)")


def latency_batches(configurations: Iterable[Configuration]) -> list[int]:
    """The batch sizes at which latency was measured, ascending."""
    names = {name for c in configurations for row in c.measured if row.result for name in row.result.metrics}
    return sorted(int(name.removeprefix(P50)) for name in names if name.startswith(P50))


@dataclass(frozen=True)
class NotQuiet:
    """A variant's measuring in which the parent timed against itself did not come out as 1."""

    trial: str
    batch: int
    control: Estimate


def not_quiet(table: SweepTable) -> tuple[NotQuiet, ...]:
    """Empty where latencies can be used: all controls were quiet. The farthest off comes first."""
    found = [one for variant in table.variants for row in variant.measured for one in _not_quiet(row)]
    return tuple(sorted(found, key=lambda one: -abs(math.log(one.control.value))))


def disturbed(row: Row, metric: str) -> NotQuiet | None:
    """Why a trial's latency is unusable: the control of the same rounds was not quiet. None for any other figure."""
    match = _LATENCY.fullmatch(metric)
    return None if match is None else next((one for one in _not_quiet(row) if one.batch == int(match[1])), None)


def _not_quiet(row: Row) -> list[NotQuiet]:
    metrics = row.result.metrics if row.result else {}
    return [
        NotQuiet(row.id, int(name.removeprefix(CONTROL)), control)
        for name, control in metrics.items()
        if name.startswith(CONTROL) and not is_quiet(control)
    ]


def latency_ratio(configuration: Configuration, batch: int) -> Summary | None:
    """Its median latency over its uncompressed parent's, both compiled, in alternation; below 1 is faster."""
    return configuration.summary(f"latency_ratio_batch_{batch}")


def latencies_ms(table: SweepTable, batch: int) -> dict[str, Summary]:
    """Variant -> its median latency at one speed of the machine, with the ratio's interval.

    Where the ratio or the parent's figure is missing: as it was measured.
    """
    beside: dict[str, list[float]] = defaultdict(list)
    for variant in table.variants:
        if (reference := variant.summary(f"reference_{P50}{batch}")) is not None:
            beside[_network(variant)].append(reference.mean)
    found: dict[str, Summary] = {}
    for variant in table.variants:
        ratio, took = latency_ratio(variant, batch), beside[_network(variant)]
        if ratio is not None and took:
            found[variant.key] = _times(ratio, median(took))
        elif (measured := variant.summary(f"{P50}{batch}")) is not None:
            found[variant.key] = measured
    return found


def _network(variant: Configuration) -> str:
    return repr(sorted(variant.config.task.options.items()))


def _times(summary: Summary, factor: float) -> Summary:
    ends = [None if end is None else end * factor for end in (summary.low, summary.high)]
    return replace(summary, mean=summary.mean * factor, low=ends[0], high=ends[1])
