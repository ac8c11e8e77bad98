"""The latencies of a sweep's variants: relative to their parents, and comparable with each other.

The speed of a machine varies, and the variants are measured one after another: a model with 0.47 ms in a slow minute
may be faster than one with 0.31 ms in a fast minute. But each is timed in alternation with its uncompressed parent, so

    time of a variant = its ratio to its parent x the median of what the parents took beside their variants

refers all of them to one speed of the machine. The median is over all parents with the same network, that is, with the
same task options; how a parent was trained does not affect its latency. Each trial's metrics keep the original figures.

The control of each measurement is the parent's latency over itself. If it is not 1, or uncertain, the machine was not
quiet: latencies of that sweep then do not rank configurations, and the comparison says so. A goal concerns one variant
and its parent: it is not determined if the control of that variant's own measurement was not 1.
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
    """A variant's measurement whose control, the parent's latency over itself, was not 1."""

    trial: str
    batch: int
    control: Estimate


def not_quiet(table: SweepTable) -> tuple[NotQuiet, ...]:
    """The measurements whose control was not 1, worst first; empty if latencies can be used."""
    found = [one for variant in table.variants for row in variant.measured for one in _not_quiet(row)]
    return tuple(sorted(found, key=lambda one: -abs(math.log(one.control.value))))


def disturbed(row: Row, metric: str) -> NotQuiet | None:
    """The control that makes a trial's latency unusable; None if it is usable, and for other metrics."""
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
    """A variant's median latency over its uncompressed parent's, both compiled, in alternation; below 1 is faster."""
    return configuration.summary(f"latency_ratio_batch_{batch}")


def latencies_ms(table: SweepTable, batch: int) -> dict[str, Summary]:
    """Variant -> its median latency at one speed of the machine, with the ratio's interval.

    If the ratio or the parent's figure is missing, the latency as it was measured.
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
