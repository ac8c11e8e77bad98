"""The story of a probe: all workers together find the largest micro-batch that fits, and the time of its steps.

Every worker measures in a fresh process. After each probe, the workers exchange their outcomes and draw the same
conclusion from all of them: the worker with the highest share of used memory decides. So workers with unequal devices
end with the micro-batch of the smallest device, and no worker waits for one that decided otherwise.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

import torch

from trainables.config.trial import ProbeConfig
from trainables.distributed.rendezvous import all_gather_object
from trainables.distributed.worker_context import WorkerContext
from trainables.estimate import Estimate
from trainables.probe.memory_search import FIRST, LargestThatFits, Probe, line_through, next_move
from trainables.probe.process import MemoryNeed, MemoryRequest, ask
from trainables.probe.throughput import rounds, throughput_figures, time_together
from trainables.process.fresh_process import ChildError
from trainables.process.memory import SHARE_OF_AVAILABLE, available_bytes, release_memory, resident_bytes
from trainables.results import Report, Status, TrialResult
from trainables.tasks.task_data import TaskData
from trainables.training.run import check_place


@dataclass(frozen=True)
class ProbeOutcome:
    """The outcome of one probe on one worker, sent to all workers; an error ends the probe on every worker."""

    needed: MemoryNeed | None
    error: str | None = None
    details: str = ""


@dataclass
class Search:
    """The results of all probes, the same on every worker. `peaks`: micro-batch -> bytes, None if memory ran out."""

    capacity_bytes: int = 0
    peaks: dict[int, int | None] = field(default_factory=dict)
    least_rows: int = FIRST  # the smallest micro-batch that can be trained
    found: LargestThatFits = field(default_factory=lambda: LargestThatFits(0, "not looked for yet"))
    evaluation_peak_bytes: int = 0  # at the largest that fits
    rows_looked_at: int | None = None  # for the longest, where rows differ
    reserved_bytes: int | None = None  # likewise, on CUDA: what the allocator had fetched from the device for it
    history: tuple[Report, ...] = ()


MeasureMemory = Callable[[int], MemoryNeed]  # micro-batch size -> what its steps needed; raises ChildError


def probe(
    trial: str, config: ProbeConfig, data: TaskData, worker: WorkerContext, environment: dict[str, str]
) -> Iterator[Report | TrialResult]:
    """Find the largest micro-batch, then time steps if requested: yields a report per probe, and last the TrialResult.

    If a single row does not fit, the result is `out_of_memory`; if a process fails otherwise, it is `failed`.
    """
    check_place(config, worker)
    release_memory(worker.device)
    threads = torch.get_num_threads()
    max_rows = min(config.max_micro_batch_size, data.train.n_rows)
    status, reason, details = Status.COMPLETED, None, None
    metrics: dict[str, Estimate] = {}
    warnings: tuple[str, ...] = ()
    search = Search()
    try:
        yield from find_together(search, in_processes(config, worker, threads), max_rows, worker)
        metrics = memory_figures(search, config, data.train.n_rows, worker)
        warnings = tuple(probe_warnings(search, data.train.n_rows))
        if search.found.micro_batch_size == 0:
            status, reason = Status.OUT_OF_MEMORY, f"{search.found.why} in {search.capacity_bytes:,} bytes"
        elif config.throughput is not None:
            timed = time_together(config, search.least_rows, search.found.micro_batch_size, worker, threads)
            metrics |= throughput_figures(timed, config.num_workers)
            search.history += rounds(timed, search.history[-1])
    except ChildError as error:
        status, reason, details = Status.FAILED, str(error), error.details
    yield TrialResult(
        id=trial,
        config=config,
        status=status,
        reason=reason,
        details=details,
        history=search.history,
        metrics=metrics,
        environment=environment,
        warnings=warnings,
    )


def find_together(
    search: Search, measure: MeasureMemory, max_rows: int, worker: WorkerContext
) -> Generator[Report, None, None]:
    """Fill `search`, probe by probe, in agreement between the workers. Raises ChildError on all workers or on none."""
    began = time.perf_counter()
    while True:
        move = next_move(search.peaks, search.capacity_bytes or 1, max_rows, search.least_rows)
        if isinstance(move, LargestThatFits):
            search.found = move
            return
        seen = all_gather_object(_try(measure, move.micro_batch_size), worker)
        _take_note(search, move, seen)
        if move.micro_batch_size not in search.peaks:
            if max_rows < search.least_rows:
                raise ChildError("batch norm needs two rows, and max_micro_batch_size, or the data, has one", "")
            continue
        peak = search.peaks[move.micro_batch_size]
        figures = {"micro_batch_size": float(move.micro_batch_size), "memory_ran_out": float(peak is None)}
        report = Report(
            step=len(search.peaks),
            examples=0,
            seconds=all_gather_object(time.perf_counter() - began, worker)[0],
            metrics=figures if peak is None else {**figures, **_peak_figures(peak, search.reserved_bytes)},
        )
        search.history += (report,)
        yield report


def _peak_figures(peak: int, reserved: int | None) -> dict[str, float]:
    figures = {"peak_memory_bytes": float(peak)}
    return figures if reserved is None else {**figures, "reserved_memory_bytes": float(reserved)}


def _try(measure: MeasureMemory, micro_batch_size: int) -> ProbeOutcome:
    try:
        return ProbeOutcome(measure(micro_batch_size))
    except ChildError as error:
        return ProbeOutcome(None, str(error), error.details)


def _take_note(search: Search, move: Probe, seen: list[ProbeOutcome]) -> None:
    """Conclude from the outcomes of all workers; raise the first error of any."""
    for rank, one in enumerate(seen):
        if one.needed is None:
            raise ChildError(f"{one.error} (on worker {rank})" if rank else str(one.error), one.details)
    needed = [one.needed for one in seen if one.needed is not None]
    search.capacity_bytes = min(one.capacity_bytes for one in needed)
    if any(one.is_too_few_rows for one in needed):
        search.least_rows = move.micro_batch_size + 1
        return
    peaks = [one.peak_bytes for one in needed]
    if any(peak is None for peak in peaks):
        search.peaks[move.micro_batch_size] = None
        return
    share = max((one.peak_bytes or 0) / one.capacity_bytes for one in needed)
    search.peaks[move.micro_batch_size] = int(share * search.capacity_bytes)
    evaluation = max((one.evaluation_peak_bytes or 0) / one.capacity_bytes for one in needed)
    search.evaluation_peak_bytes = int(evaluation * search.capacity_bytes)
    search.rows_looked_at = next((n for one in needed if (n := one.rows_looked_at) is not None), search.rows_looked_at)
    search.reserved_bytes = max((r for one in needed if (r := one.reserved_bytes) is not None), default=None)


def in_processes(config: ProbeConfig, worker: WorkerContext, threads: int) -> MeasureMemory:
    """A function that measures in fresh processes. This worker's share of the node's memory is agreed now with the
    others.

    A probe runs alone on its node, but later trainings do not: so each worker gets the share that would be left if as
    many workers as fit were running.
    """
    capacity, own = config.memory_limit_bytes, resident_bytes() if worker.device.type == "cpu" else 0
    if capacity is None and worker.device.type == "cpu":
        hosts = all_gather_object(socket.gethostname(), worker)
        together = max(hosts.count(hosts[worker.rank]), worker.workers_per_node)
        capacity = min(all_gather_object(int(SHARE_OF_AVAILABLE * available_bytes()) // together, worker))
    longest: list[int | None] = []

    def measure(micro_batch_size: int) -> MemoryNeed:
        request = MemoryRequest(
            config=config,
            device=str(worker.device),
            threads=threads,
            cache=str(worker.cache),
            micro_batch_size=micro_batch_size,
            capacity_bytes=capacity,
            resident_bytes=own,
            longest_row=longest[0] if longest else None,
            find_longest_row=not longest,
        )
        try:
            needed = MemoryNeed.model_validate_json(ask(request, worker))
        except ChildError as error:
            if not (error.killed and capacity is not None and worker.device.type == "cpu"):
                raise
            return MemoryNeed(peak_bytes=None, capacity_bytes=capacity)  # the system killed it before our own guard did
        if needed.peak_bytes is not None:
            longest[:] = [needed.longest_row]
        return needed

    return measure


def memory_figures(search: Search, config: ProbeConfig, train_rows: int, worker: WorkerContext) -> dict[str, Estimate]:
    """The largest micro-batch found, and what limited it."""
    on = "of the device's allocator" if worker.device.type == "cuda" else "resident; interpreter and libraries included"
    figures = {
        "largest_micro_batch_size": Estimate.exact(
            search.found.micro_batch_size, f"{what_limited(search, config, train_rows)}; {search.found.why}"
        ),
        "memory_capacity_bytes": Estimate.exact(search.capacity_bytes, f"of one worker, {on}"),
        "probes": Estimate.exact(len(search.peaks)),
        "probe_out_of_memory_errors": Estimate.exact(sum(peak is None for peak in search.peaks.values())),
    }
    fits = {size: peak for size, peak in search.peaks.items() if peak is not None}
    if len(fits) > 1:
        line, note = line_through(fits), f"the line through the two largest of {len(fits)} probes that fit"
        figures["memory_fixed_bytes"] = Estimate.exact(line.fixed_bytes, f"{note}; {on}")
        figures["memory_bytes_per_example"] = Estimate.exact(line.bytes_per_row, note)
    return figures


def what_limited(search: Search, config: ProbeConfig, train_rows: int) -> str:
    if search.found.micro_batch_size < min(config.max_micro_batch_size, train_rows):
        return "limited by memory"
    if train_rows <= config.max_micro_batch_size:
        return f"not limited by memory but by the {train_rows:,} training rows"
    return f"not limited by memory but by max_micro_batch_size {config.max_micro_batch_size:,}"


def probe_warnings(search: Search, train_rows: int) -> Iterator[str]:
    if search.evaluation_peak_bytes > search.capacity_bytes:
        needs = f"evaluating needs {search.evaluation_peak_bytes:,} bytes"
        yield f"{needs}, more than the capacity, whatever the micro-batch"
    if search.rows_looked_at is not None and search.rows_looked_at < train_rows:
        yield (
            f"rows differ in the memory they need, and there was time to check only {search.rows_looked_at:,} of "
            f"{train_rows:,}: for a longer one, the batch may be divided again"
        )
