"""The time of an optimiser step at several micro-batch sizes, timed in turn by all workers together.

Sizes take turns, one block of steps each, round after round, so that drift of the machine's speed (clock, other
programs) affects all equally. The clock is read when the device has finished; the slowest worker's time counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist

from trainables.distributed.worker_context import WorkerContext

WARM_UP_STEPS = 3  # per size: kernels are chosen, memory is allocated, pages are mapped
STEP_BLOCK_SECONDS = 0.05  # one size's block in a round: long against the timer, short against drift
MOST_STEPS = 64  # most steps of one block
FEWEST_ROUNDS = 3
STEP_SECONDS_AT_MOST = 90.0  # for all rounds together; slow steps get fewer rounds, and wider intervals

RunSteps = Callable[[int, int], object]  # (micro-batch size, number of steps); need not wait for the device


def time_step_sizes(run: RunSteps, sizes: list[int], rounds: int, worker: WorkerContext) -> dict[int, list[float]]:
    """Seconds of one step: per micro-batch size, one figure for each round, the same on every worker."""
    steps: dict[int, int] = {}
    for size in sizes:
        _timed(run, size, WARM_UP_STEPS, worker)
        seconds = _timed(run, size, 1, worker)
        steps[size] = min(MOST_STEPS, max(1, math.ceil(STEP_BLOCK_SECONDS / max(seconds, 1e-6))))
    timed: dict[int, list[float]] = {size: [] for size in sizes}
    began = time.perf_counter()
    for number in range(rounds):
        for size in sizes:
            timed[size].append(_timed(run, size, steps[size], worker))
        is_late = _agreed(time.perf_counter() - began, worker) > STEP_SECONDS_AT_MOST
        if is_late and number + 1 >= FEWEST_ROUNDS:
            break
    return timed


def rows_of(timed: Mapping[int, list[float]]) -> list[dict[int, float]]:
    """The figures by round: for each round, seconds by size."""
    return [dict(zip(timed, row, strict=True)) for row in zip(*timed.values(), strict=True)]


def _timed(run: RunSteps, size: int, steps: int, worker: WorkerContext) -> float:
    _wait(worker)
    worker.wait_for_all()
    began = time.perf_counter()
    run(size, steps)
    _wait(worker)
    return _agreed((time.perf_counter() - began) / steps, worker)


def _wait(worker: WorkerContext) -> None:
    if worker.device.type == "cuda":
        torch.cuda.synchronize(worker.device)


def _agreed(seconds: float, worker: WorkerContext) -> float:
    """The slowest worker's seconds, the same on every worker."""
    if worker.world_size == 1:
        return seconds
    slowest = torch.tensor(seconds, dtype=torch.float64, device=worker.device)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    return float(slowest)
