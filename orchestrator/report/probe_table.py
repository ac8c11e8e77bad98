"""The results of probes, for people and for scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from orchestrator.analysis.rows import ProbeRow
from orchestrator.analysis.step_time import StepTime, StepTimeFit
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.throughput import fit_together, neighbour_effects, step_times
from orchestrator.report.tables import text_table, titled
from orchestrator.sweep.labels import probe_words
from orchestrator.wording.format import quantity
from trainables.config.trial import ProbeConfig
from trainables.estimate import Estimate
from trainables.results import Status, TrialResult

Probed = tuple[ProbeConfig, TrialResult]
GIB = 2**30
SPEED = "examples_per_second_micro_batch_"
MEMORY_FIGURES = ("fixed_bytes", "bytes_per_example", "capacity_bytes")


def probes_as_json(task: str, probed: Sequence[Probed]) -> str:
    return json.dumps(probes_as_dict(task, probed), indent=2, allow_nan=False)


def probes_as_dict(task: str, probed: Sequence[Probed]) -> dict[str, Any]:
    """`{"task", "probes": [{settings, status, metrics, neighbours}], "step_time": [{settings, fit}]}`."""
    return {
        "task": task,
        "probes": [_probe_as_dict(config, result) for config, result in probed],
        "step_time": [
            {"precision": group[0][0].precision, "optimizer": group[0][0].optimizer.name, **_fit_as_dict(fit)}
            for group in _groups(probed)
            if (fit := fit_together([result for _, result in group])) is not None
        ],
    }


def _probe_as_dict(config: ProbeConfig, result: TrialResult) -> dict[str, Any]:
    return {
        "trial": result.id,
        "precision": config.precision,
        "optimizer": config.optimizer.model_dump(mode="json"),
        "num_workers": config.num_workers,
        "status": result.status.value,
        "reason": result.reason,
        "metrics": {name: estimate.model_dump(mode="json") for name, estimate in result.metrics.items()},
        "neighbours": {
            str(size): {**asdict(effect), "verdict": effect.verdict}
            for size, effect in neighbour_effects(result).items()
        },
        "warnings": list(result.warnings),
        "environment": result.environment,
    }


def _fit_as_dict(fit: StepTimeFit) -> dict[str, Any]:
    line = fit.step_time
    return {
        "fixed_seconds": line.fixed,
        "fixed_seconds_interval": fit.fixed_interval,
        "seconds_per_example": line.per_example,
        "seconds_per_example_interval": fit.per_example_interval,
        "reference_workers": line.reference_workers,
        "communication_seconds": {str(workers): seconds for workers, seconds in line.communication.items()},
        "communication_seconds_interval": {str(workers): ends for workers, ends in fit.communication_intervals.items()},
        "rms_relative_error": line.rms_relative,
        "knee_batch_size": _finite(_knee(line, 0.5)) if line.per_example > 0 else None,
        "knee_batch_size_interval": [_finite(end) for end in fit.knee_interval],
    }


def print_probes(task: str, probed: Sequence[Probed], console: Console) -> None:
    """Print the tables; those that were not asked for are left out."""
    console.print(_memory_table(task, probed))
    for _, result in probed:
        for doubt in [*([result.reason] if result.reason else []), *result.warnings]:
            console.print(Text(f"  {_settings(result)}: {doubt}", "yellow"))
    for group in _groups(probed):
        results = [result for _, result in group]
        if any(step_times(result) for result in results):
            console.print("", _throughput_table(results))
            for line in _fit_lines(fit_together(results), results):
                console.print(Text(f"  {line}"))
        for result in results:
            _print_neighbours(result, console)


def _memory_table(task: str, probed: Sequence[Probed]) -> Group:
    memory, probes, limited = ("fixed", "per example", "capacity"), ("probes", "ran out"), "what limits it"
    columns = ("precision", "optimizer", "workers", "micro-batch", *memory, *probes, limited)
    rows = []
    for config, result in probed:
        figures = result.metrics
        limit = figures.get("largest_micro_batch_size")
        rows.append(
            (
                config.precision,
                config.optimizer.name,
                str(config.num_workers),
                "-" if limit is None else f"{limit.value:,.0f}",
                *(_bytes(figures.get(f"memory_{name}")) for name in MEMORY_FIGURES),
                *(_count(figures.get(name)) for name in ("probes", "probe_out_of_memory_errors")),
                _limit_words(result, limit),
            )
        )
    grid = text_table(columns, rows, left={"precision", "optimizer", limited}, fold={limited})
    return titled(f"The largest micro-batch of {task} on one worker: {_device(probed)}", grid)


def _limit_words(result: TrialResult, limit: Estimate | None) -> str:
    if result.status is not Status.COMPLETED:
        return result.status.value.replace("_", " ")
    return (limit.note or "").partition(";")[0] if limit is not None else ""


def _throughput_table(results: Sequence[TrialResult]) -> Group:
    config = results[0].config
    optimizer = config.optimizer.name if isinstance(config, ProbeConfig) else ""
    precision = config.precision if isinstance(config, ProbeConfig) else ""
    rows = []
    for result in results:
        workers = result.config.num_workers if isinstance(result.config, ProbeConfig) else 1
        for size, step in step_times(result).items():
            low, high = step.low, step.high
            interval = "-" if low is None or high is None else f"{low * 1e3:.3g} to {high * 1e3:.3g}"
            speed = f"{size * workers / step.value:,.0f}"
            rows.append((str(workers), f"{size:,}", f"{size * workers:,}", f"{step.value * 1e3:.3g}", interval, speed))
    columns = ("workers", "micro-batch", "batch", "ms a step", "interval", "examples/s")
    title = f"Time of a step, {precision}, {optimizer}: median and 95 % interval over rounds"
    return titled(title, text_table(columns, rows))


def _fit_lines(fit: StepTimeFit | None, results: Sequence[TrialResult]) -> Iterable[str]:
    if fit is None:
        yield "no fit: it needs at least three timings at two sizes"
        return
    line, reference = fit.step_time, fit.step_time.reference_workers
    overhead, beyond = ("a", "") if reference == 1 else (f"a + c({reference})", f" - c({reference})")
    yield (
        f"t(B) = a + b B/K + c(K): {overhead} = {line.fixed * 1e3:.3g} ms ({_range(fit.fixed_interval, 1e3)}), "
        f"b = {line.per_example * 1e6:.3g} us an example ({_range(fit.per_example_interval, 1e6)}), "
        f"scatter {line.rms_relative:.0%}"
    )
    for workers, seconds in line.communication.items():
        ends = _range(fit.communication_intervals[workers], 1e3)
        yield f"c({workers}){beyond} = {seconds * 1e3:.3g} ms ({ends}) for the exchange between {workers} workers"
    if line.per_example <= 0:
        yield "no knee: at all sizes that were timed, more examples take no more time"
        return
    half, most = (round(_knee(line, share)) for share in (0.5, 0.9))
    largest = _largest_timed(results, reference)
    yield (
        f"knee: half of the limit of {reference / line.per_example:,.0f} examples/s is reached at batch {half:,} "
        f"({_range(fit.knee_interval, 1)}), 90 % at {most:,}, "
        f"on {'one worker' if reference == 1 else f'{reference} workers'}"
    )
    if most > largest:
        which = f"{most:,} is" if half <= largest else "both are"
        yield f"{which} beyond the largest batch that was timed, {largest:,}: the fit is extrapolated"


def _knee(line: StepTime, share: float) -> float:
    return line.batch_for_share(share, line.reference_workers)


def _largest_timed(results: Sequence[TrialResult], workers: int) -> int:
    """The largest batch that was timed with this number of workers."""
    probes = [r for r in results if isinstance(r.config, ProbeConfig) and r.config.num_workers == workers]
    return max((size * workers for result in probes for size in step_times(result)), default=0)


def _print_neighbours(result: TrialResult, console: Console) -> None:
    effects = neighbour_effects(result)
    if not effects:
        return
    rows = [
        (str(size), f"{effect.ratio:.3f}", f"{effect.low:.3f} to {effect.high:.3f}", effect.verdict)
        for size, effect in effects.items()
    ]
    grid = text_table(("micro-batch", "time over neighbours'", "interval", ""), rows, left={""}, fold={""})
    console.print("", titled(f"Powers of two against their neighbours, {_settings(result)}", grid))
    if len(effects) > 1:
        words = f"  each interval is of 95 %; verdicts are corrected for {len(effects)} comparisons (Holm)"
        console.print(Text(words, "dim"))


def probe_lines(table: SweepTable) -> list[str]:
    """The results of a sweep's probes, one line each.

    `float32, sgd, 1 worker: micro-batches of up to 128 fit; fastest with 64: 5,210 examples/s`.
    """
    return [f"  {probe_words(row.config)}: {_found(row)}" for row in table.probes]


def _found(row: ProbeRow) -> str:
    if row.result is None:
        return row.status
    metrics = row.result.metrics
    limit = metrics.get("largest_micro_batch_size")
    if limit is None or limit.value < 1:
        return f"{row.status.replace('_', ' ')}{f' ({row.result.reason})' if row.result.reason else ''}"
    fits = f"micro-batches of up to {limit.value:,.0f} fit"
    speeds = {int(name.removeprefix(SPEED)): e.value for name, e in metrics.items() if name.startswith(SPEED)}
    if not speeds:
        return fits
    best = max(speeds, key=lambda size: speeds[size])
    return f"{fits}; fastest with {best:,}: {quantity('examples_per_second', speeds[best])} examples/s"


def _groups(probed: Sequence[Probed]) -> list[list[Probed]]:
    """Group probes that differ only in the number of workers, in the given order."""

    def key(pair: Probed) -> tuple[str, str]:
        return pair[0].precision, pair[0].optimizer.name

    return [list(group) for _, group in groupby(sorted(probed, key=key), key)]


def _settings(result: TrialResult) -> str:
    config = result.config
    if not isinstance(config, ProbeConfig):
        return result.id
    return f"{config.precision}, {config.optimizer.name}, {config.num_workers} worker" + "s" * (config.num_workers > 1)


def _device(probed: Sequence[Probed]) -> str:
    names = dict.fromkeys(result.environment.get("device", "?") for _, result in probed)
    return ", ".join(names)


def _bytes(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    for unit, size in (("GiB", GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(estimate.value) >= size:
            return f"{estimate.value / size:.3g} {unit}"
    return f"{estimate.value:.0f} B"


def _count(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.0f}"


def _range(interval: tuple[float, float], scale: float) -> str:
    low, high = (end * scale for end in interval)
    return f"{low:.3g} to {high:.3g}" if math.isfinite(high) else f"{low:.3g} or more"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
