"""One worker of a trial that runs on this machine without a cluster, `python -m trainables.worker.local_worker`.

It reads a `LocalWorker` as JSON from its standard input, joins the other workers, and runs the trial. The first worker
writes to its standard output, one line of JSON per evaluation, `{"report": ...}`, and finally `{"result": ...}`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel

from trainables.config.base import FrozenConfig
from trainables.config.trial import TrialConfig
from trainables.process.malloc import give_back_large_blocks
from trainables.results import Report, TrialResult


class LocalWorker(FrozenConfig):
    """The role of this process."""

    trial: str
    config: TrialConfig
    rank: int
    num_workers: int
    threads: int
    storage: str
    cache: str
    meet: str  # a file that does not exist yet, in a folder that does


class WorkerLine(BaseModel):
    """One line of output of the first worker."""

    report: Report | None = None
    result: TrialResult | None = None


def main() -> None:
    request = LocalWorker.model_validate_json(sys.stdin.read())
    give_back_large_blocks()
    import torch

    from trainables.distributed.process_group import join_process_group, leave_process_group
    from trainables.distributed.worker_context import WorkerContext
    from trainables.process.fresh_process import end_with_parent
    from trainables.storage import Storage
    from trainables.trial import run_trial

    end_with_parent()
    torch.set_num_threads(request.threads)
    gpus = torch.cuda.device_count()
    if gpus and request.num_workers > gpus:
        raise ValueError(f"{request.num_workers} workers need a GPU each, but this machine has {gpus}")
    device = torch.device(f"cuda:{request.rank}" if gpus else "cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if request.num_workers > 1:
        join_process_group(device, request.rank, request.num_workers, init_method=f"file://{request.meet}")
    worker = WorkerContext(Storage(request.storage), Path(request.cache), request.rank, request.num_workers, device)
    for word in run_trial(request.trial, request.config, worker):
        if request.rank == 0:
            line = WorkerLine(report=word) if isinstance(word, Report) else WorkerLine(result=word)
            print(line.model_dump_json(exclude_none=True), flush=True)
    if request.num_workers > 1:
        leave_process_group()


if __name__ == "__main__":
    main()
