"""Takes real optimiser steps in a fresh process, and returns their peak memory or their seconds.

`probe` starts it. A fresh process has nothing else in memory, and running out of memory ends only that process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, TypeAdapter
from torch import nn

from trainables.config.base import FrozenConfig, FrozenResult
from trainables.config.training import NoiseScale
from trainables.config.trial import ProbeConfig
from trainables.data.shards import Rows
from trainables.data.table import Table
from trainables.distributed.process_group import join_process_group, leave_process_group
from trainables.distributed.worker_context import WorkerContext
from trainables.probe.model import OneRow, begin_block, build_run, probe_training, take_steps
from trainables.probe.step_timing import time_step_sizes
from trainables.process.fresh_process import answer, in_fresh_process
from trainables.process.malloc import MALLOC_ENVIRONMENT
from trainables.process.memory import (
    SHARE_OF_AVAILABLE,
    available_bytes,
    claim_workspaces,
    forget_peak,
    guard,
    out_of_memory,
    peak_bytes,
    resident_bytes,
)
from trainables.storage import Storage
from trainables.tasks.base import Task
from trainables.training.data_parallel import MicroBatchTooLargeError, task_objective
from trainables.training.evaluate import _Outputs, autocast, evaluate, evaluation_rows
from trainables.training.gradient_noise import needs_more_rows
from trainables.training.run import TrainingRun

STEPS, ACCUMULATION_STEPS = 2, 2  # the second step has the optimiser's state, and gradients beside the activations
EVERY_STEP_MEASURED = NoiseScale(every_steps=1)  # trainings measure the noise scale of some steps; here of each
LOOKED_AT_MOST, LOOKED_AT_SEED = 1 << 20, 0  # most rows of a table to check, and the seed of their order
LOOKED_AT_SECONDS, ALIKE_SECONDS, ALIKE_ROWS = 3.0, 1.0, 256  # the shorter time if the first 256 rows are all alike


class Common(FrozenConfig):
    config: ProbeConfig
    device: str
    threads: int
    cache: str


class MemoryRequest(Common):
    """Take steps with this micro-batch, within `capacity_bytes`."""

    ask: Literal["memory"] = "memory"
    micro_batch_size: int
    capacity_bytes: int | None  # None: all free memory of the device or the machine
    resident_bytes: int  # memory of the process that will train; it holds more than this process
    longest_row: int | None = None  # fill the batch with this training row; None: find it, or take all rows in turn
    find_longest_row: bool = False


class TimingRequest(Common):
    """Time steps with these micro-batches, together with the other workers' processes."""

    ask: Literal["timing"] = "timing"
    micro_batch_sizes: tuple[int, ...]
    rounds: int
    rank: int
    meet_at: str  # rendezvous of the workers' processes, in the form of torch's `init_method`


class MemoryNeed(FrozenResult):
    """The memory of some steps. `peak_bytes` is None if memory ran out, in a step or in the checkpoint after it."""

    peak_bytes: int | None
    capacity_bytes: int
    reserved_bytes: int | None = None  # CUDA: memory that the allocator had reserved on the device
    evaluation_peak_bytes: int | None = None
    longest_row: int | None = None
    is_too_few_rows: bool = False  # whether the micro-batch is too small for any step
    rows_looked_at: int | None = None  # number of rows checked for the longest; None: all rows are alike


class StepTimes(FrozenResult):
    """Seconds of a step, by micro-batch and round; those of the slowest worker."""

    seconds: dict[int, list[float]]


REQUEST: TypeAdapter[MemoryRequest | TimingRequest] = TypeAdapter(
    Annotated[MemoryRequest | TimingRequest, Field(discriminator="ask")]
)


def ask(request: MemoryRequest | TimingRequest, worker: WorkerContext) -> str:
    """The response of a fresh process, as JSON. Raises ChildError."""
    environment = {
        "OMP_NUM_THREADS": str(request.threads),
        "MKL_NUM_THREADS": str(request.threads),
        **MALLOC_ENVIRONMENT,
    }
    return in_fresh_process(
        "trainables.probe.process", request.model_dump_json(), worker.cache, environment, doing="probing"
    )


# -- memory -----------------------------------------------------------------------------------------------------------


def measure_memory(request: MemoryRequest, response: Path) -> MemoryNeed:
    """The peak of two steps of two micro-batches each, and of an evaluation; one more step must fit after them.

    If memory runs out, the guard writes the response. A checkpoint must fit too; its peak is kept separate, because it
    does not depend on the micro-batch and so does not lie on the line.
    With several workers the model is wrapped like theirs, in a group of this process alone, as its buckets take memory.
    """
    worker = _context(request, rank=0)
    if worker.world_size > 1:
        join_process_group(worker.device, 0, 1, init_method=f"file://{response}.rendezvous")
    base = resident_bytes()
    extra = max(0, request.resident_bytes - base) if worker.device.type == "cpu" else 0
    capacity = _take_capacity(request, worker, extra, response)
    ran_out = MemoryNeed(peak_bytes=None, capacity_bytes=capacity)
    try:
        training = probe_training(request.config, request.micro_batch_size, ACCUMULATION_STEPS, EVERY_STEP_MEASURED)
        run = build_run(request.config, training, worker)
        longest, looked = request.longest_row, None
        if request.find_longest_row:
            longest, looked = longest_row(run.model, run.task, run.data.train, worker, request.config)
        if longest is not None:
            run.rows = OneRow(longest)
        forget_peak(worker.device)
        for _ in range(STEPS):
            begin_block(run)
        peak = peak_bytes(worker.device) + extra
        reserved = torch.cuda.max_memory_reserved(worker.device) if worker.device.type == "cuda" else None
        if worker.device.type == "cpu":  # for a GPU, the copy is made in the host's memory
            forget_peak(worker.device)
            run.state.content()
            if peak_bytes(worker.device) + extra > capacity:
                return ran_out
        forget_peak(worker.device)
        _evaluate(run)
        evaluation_peak = peak_bytes(worker.device) + extra
        begin_block(run)  # in what the allocator has kept of all that
    except Exception as error:
        if request.micro_batch_size == 1 and needs_more_rows(error):
            return MemoryNeed(peak_bytes=None, capacity_bytes=capacity, is_too_few_rows=True)
        if not (out_of_memory(error) or isinstance(error, MicroBatchTooLargeError)):
            raise
        return ran_out
    return MemoryNeed(
        peak_bytes=peak if peak <= capacity else None,
        capacity_bytes=capacity,
        reserved_bytes=reserved,
        evaluation_peak_bytes=evaluation_peak,
        longest_row=longest,
        rows_looked_at=None if longest is None else looked,
    )


def longest_row(
    model: nn.Module, task: Task, table: Table, worker: WorkerContext, config: ProbeConfig
) -> tuple[int | None, int]:
    """The training row with the most computed bytes (None if all are alike), and the number of rows checked.

    Rows of a table have one shape, but a task may cut away their padding, so that the longest row determines the
    memory. Rows are checked within a time limit, which is shorter while they are all alike. If rows are lists of
    unequal length, the longest list is the row.
    """
    if table.lengths is not None:
        return int(table.lengths.argmax()), table.n_rows
    began, computed, are_alike = time.monotonic(), dict[int, int](), True
    objective = task_objective(task)
    model.eval()
    for row in looked_at(table.n_rows):
        batch = {name: column.to(worker.device) for name, column in table.gather(np.array([row])).items()}
        # A new autocast for each row: it caches converted weights, which would count for the first row only.
        with torch.no_grad(), autocast(config.precision, worker.device), _Outputs() as outputs:
            objective(model, batch)
        computed[int(row)] = outputs.bytes
        are_alike = are_alike and outputs.bytes == next(iter(computed.values()))
        enough = are_alike and len(computed) >= ALIKE_ROWS
        if time.monotonic() - began > (ALIKE_SECONDS if enough else LOOKED_AT_SECONDS):
            break
    model.train()
    return (None if are_alike else max(computed, key=lambda row: computed[row])), len(computed)


def looked_at(n_rows: int) -> Rows:
    """Rows spread evenly over a table, in random order, so that the first few are spread over the table, too."""
    rows = np.unique(np.linspace(0, n_rows - 1, min(n_rows, LOOKED_AT_MOST), dtype=np.int64))
    return np.random.default_rng(LOOKED_AT_SEED).permutation(rows)


def _evaluate(run: TrainingRun) -> None:
    validation, alone = run.data.validation, replace(run.worker, world_size=1)
    rows = evaluation_rows(run.model, run.task, validation, run.training, alone)
    evaluate(run.model, run.task, validation, alone, rows, limit=rows, precision=run.training.precision)


def _take_capacity(request: MemoryRequest, worker: WorkerContext, extra: int, response: Path) -> int:
    """The memory that this worker may use, which is also set as its limit."""
    if worker.device.type == "cpu":
        capacity = request.capacity_bytes or int(SHARE_OF_AVAILABLE * available_bytes())
        ran_out = MemoryNeed(peak_bytes=None, capacity_bytes=capacity).model_dump_json()
        guard(capacity - extra, lambda: _write_at_once(response, ran_out))
        return capacity
    claim_workspaces(worker.device)  # with which the context and first kernels are there too
    free, total = torch.cuda.mem_get_info(worker.device)
    room = int(SHARE_OF_AVAILABLE * (free + torch.cuda.memory_reserved(worker.device)))  # kernels are yet to be loaded
    capacity = min(room, request.capacity_bytes or room)
    torch.cuda.set_per_process_memory_fraction(capacity / total, worker.device)
    return capacity


# -- time -------------------------------------------------------------------------------------------------------------


def measure_time(request: TimingRequest) -> StepTimes:
    """Seconds of a step without accumulation at every size; the processes of all workers step together."""
    worker = _context(request, rank=request.rank)
    if worker.world_size > 1:
        join_process_group(worker.device, worker.rank, worker.world_size, init_method=request.meet_at)
    sizes = sorted(request.micro_batch_sizes)
    run = build_run(request.config, probe_training(request.config, sizes[-1]), worker)
    timed = time_step_sizes(
        lambda size, steps: take_steps(run, probe_training(request.config, size), steps), sizes, request.rounds, worker
    )
    if worker.world_size > 1:
        del run  # with DDP's reducer
        leave_process_group()
    return StepTimes(seconds=timed)


# -- both -------------------------------------------------------------------------------------------------------------


def _context(request: Common, rank: int) -> WorkerContext:
    torch.set_num_threads(request.threads)
    device = torch.device(request.device)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)  # the functions of torch.cuda want to know which
        torch.cuda.set_device(device)
    cache = Path(request.cache)
    return WorkerContext(Storage(str(cache)), cache, rank, request.config.num_workers, device)


def main(arguments: Sequence[str]) -> None:
    response = Path(arguments[1])

    def respond(text: str) -> str:
        match REQUEST.validate_json(text):
            case MemoryRequest() as request:
                return measure_memory(request, response).model_dump_json()
            case TimingRequest() as request:
                return measure_time(request).model_dump_json()

    answer(respond, arguments)


def _write_at_once(file: Path, text: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(handle, text.encode())
    os.close(handle)


if __name__ == "__main__":
    main(sys.argv[1:])
