"""What each of two gloo processes does for `test_probing`; the test looks at what they left.

python -m tests.support.probing RANK FOLDER by_day|at_night
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import torch.distributed as dist

from tests.support.training_samples import training, worker
from trainables.config.trial import BaselineConfig, ProbeConfig, TaskConfig, Throughput
from trainables.distributed import rendezvous as meeting
from trainables.distributed.worker_context import WorkerContext
from trainables.probe.memory_search import LargestThatFits
from trainables.probe.probe import Search, find_together
from trainables.probe.process import MemoryNeed
from trainables.process.fresh_process import ChildError
from trainables.results import TrialResult
from trainables.trial import run_trial

GIB = 2**30
DIGITS = TaskConfig(name="digits_cnn", options={"channels": 4}, data="of the test", code="of the test")


def simulated(here: WorkerContext, capacities: tuple[int, int], per_row: tuple[int, int]) -> dict[str, Any]:
    """Workers with devices of their own: 1 GiB that does not grow, `per_row` bytes that do."""
    asked = []

    def measure(rows: int) -> MemoryNeed:
        asked.append(rows)
        peak = GIB + per_row[here.rank] * rows
        fits = peak <= capacities[here.rank]
        return MemoryNeed(peak_bytes=peak if fits else None, capacity_bytes=capacities[here.rank])

    search = Search()
    reports = list(find_together(search, measure, 10**6, here))
    assert isinstance(search.found, LargestThatFits)
    return {"found": search.found.micro_batch_size, "asked": asked, "reports": len(reports)}


def failing(here: WorkerContext) -> str:
    """One worker's process fails in the third probe, for a reason that is not memory."""

    def measure(rows: int) -> MemoryNeed:
        if here.rank == 1 and rows > 4:
            raise ChildError("probing failed: no such file", "the log")
        return MemoryNeed(peak_bytes=GIB + rows, capacity_bytes=2 * GIB)

    try:
        list(find_together(Search(), measure, 10**6, here))
    except ChildError as error:
        return str(error)
    return "nothing was raised"


def real(here: WorkerContext) -> dict[str, Any]:
    """Fresh processes, the worker's memory limited; the first worker's limit is the smaller one."""
    limit = (1 + here.rank) * 2**30
    config = ProbeConfig(
        task=DIGITS,
        num_workers=2,
        memory_limit_bytes=limit,
        max_micro_batch_size=64,
        throughput=Throughput(micro_batch_sizes=(8, 64, 128), rounds=6),
    )
    *_, result = run_trial("p", config, here)
    assert isinstance(result, TrialResult)
    figures = {name: estimate.model_dump() for name, estimate in result.metrics.items()}
    return {"status": str(result.status), "reason": result.reason, "details": result.details, "metrics": figures}


def apart(here: WorkerContext) -> dict[str, Any]:
    """Workers of two machines, by their names: the processes that are timed meet at a port of the first one's."""
    config = ProbeConfig(
        task=DIGITS, num_workers=2, max_micro_batch_size=2, throughput=Throughput(micro_batch_sizes=(2,), rounds=3)
    )
    real_name, real_address = socket.gethostname, meeting._own_address
    socket.gethostname, meeting._own_address = lambda: f"machine {here.rank}", lambda: "127.0.0.1"
    try:
        *_, result = run_trial("a", config, here)
    finally:
        socket.gethostname, meeting._own_address = real_name, real_address
    assert isinstance(result, TrialResult)
    return {"status": str(result.status), "reason": result.reason, "figures": sorted(result.metrics)}


def hungry(here: WorkerContext) -> dict[str, Any]:
    """Fresh processes in which memory runs out above 2 rows, in the look that workers take before the first step."""
    task = DIGITS.model_copy(update={"name": "tests.support.hungry:Hungry", "options": {"most_rows": 2}})
    config = ProbeConfig(task=task, num_workers=2, max_micro_batch_size=3)
    *_, result = run_trial("h", config, here)
    assert isinstance(result, TrialResult)
    figures = {name: estimate.value for name, estimate in result.metrics.items()}
    return {"status": str(result.status), "reason": result.reason, "metrics": figures}


def resplit(here: WorkerContext, rank: int) -> dict[str, Any]:
    """Memory runs out above 8 rows, on one worker or (-1) on both; a worker's share is 24."""
    task = DIGITS.model_copy(update={"name": "tests.support.hungry:Hungry", "options": {"most_rows": 8, "rank": rank}})
    config = BaselineConfig(task=task, training=training(48, 10, num_workers=2, evaluations=2))
    *reports, result = run_trial(f"resplit{rank}", config, here)
    assert isinstance(result, TrialResult)
    return {
        "status": str(result.status),
        "micro": result.metrics["micro_batch_size"].value,
        "accumulation": result.metrics["accumulation_steps"].value,
        "examples": [report.examples for report in reports],
        "loss": result.metrics["val_loss"].value,
        "warnings": result.warnings,
    }


def main() -> None:
    rank, folder, part = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    here = worker(folder, rank=rank, world_size=2)
    found: dict[str, Any]
    if part == "by_day":
        found = {
            "unequal": simulated(here, (16 * GIB, 4 * GIB), (2**20, 2**20)),
            "unequal rows": simulated(here, (16 * GIB, 16 * GIB), (2**20, 3 * 2**20)),
            "failing": failing(here),
            "resplit": [resplit(here, rank) for rank in (-1, 0, 1)],
        }
    else:
        found = {"real": real(here), "apart": apart(here), "hungry": hungry(here)}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
