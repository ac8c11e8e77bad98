"""What each of two gloo processes does for the tests beside this file; they look at what it left.

python -m tests.support.pair RANK NUM_WORKERS FOLDER [cuda]

On CUDA each has a device of its own and they meet by NCCL; where there are too few they share one, and gloo carries
what lies on it.
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from tests.support.ragged_task import Tags, tags_tables
from tests.support.training_samples import (
    Ragged,
    Regression,
    Weighted,
    bits,
    build,
    table,
    tables,
    training,
    worker,
)
from trainables.config.optimizers import Adam
from trainables.config.training import Budget, NoiseScale, SortedBy, Training
from trainables.config.trial import BaselineConfig, TaskConfig
from trainables.distributed.worker_context import WorkerContext
from trainables.results import TrialResult
from trainables.tasks.base import Task
from trainables.tasks.norms import SyncBatchNorm2d
from trainables.tasks.task_data import TaskData
from trainables.training.errors import Diverged
from trainables.training.evaluate import evaluate
from trainables.training.gradient_noise import GradientNoise
from trainables.training.loop import train
from trainables.trial import run_trial

ROWS = 24
DOUBLE = torch.float64
STEADY = {"dropout": 0.0, "batch_norm": False}


def full_batch(task: Task, here: WorkerContext, data: TaskData | None = None, **changes: Any) -> dict[str, Any]:
    """Twenty steps in float64, each on all rows: the same rows whatever the number of workers."""
    settings = training(ROWS, 20, num_workers=here.world_size, evaluations=2, **changes)
    model = build(task, dtype=DOUBLE)
    history = list(train(model, task, data or tables(ROWS, dtype=DOUBLE), settings, here))
    return {"weights": bits(model), "history": [report.model_dump() for report in history]}


def interrupted(here: WorkerContext, settings: Training, kills: int, name: str) -> dict[str, Any]:
    """Train with dropout and batch norm, stopping and starting anew after each of the first `kills` readings."""
    for start in range(kills + 1):
        model = build(Shaken(), seed=start)
        running = train(model, Shaken(), tables(ROWS), settings, here, checkpoint=name)
        if start < kills:
            next(running)
            running.close()
    steps = [report.step for report in running]
    return {"weights": bits(model), "steps": steps}


def diverging(here: WorkerContext, bad_rank: int) -> dict[str, Any]:
    """A loss that is NaN on one worker alone, in the third step."""

    class Breaks(Regression):
        calls = 0

        def forward(self, model: Any, batch: Any) -> Any:
            self.calls += model.training
            bad = model.training and self.calls == 3 and here.rank == bad_rank
            return super().forward(model, batch) * (math.nan if bad else 1.0)

    task = Breaks()
    settings = training(8, 20, num_workers=here.world_size)
    try:
        list(train(build(task), task, tables(ROWS), settings, here))
    except Diverged as error:
        return {"step": error.step, "is_nan": math.isnan(error.loss)}
    return {}


def flagged(here: WorkerContext) -> dict[str, Any]:
    """A model with a buffer of another type, and different in each worker."""

    class Flagged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Regression().build_model()
            self.register_buffer("flag", torch.tensor([here.rank == 0]))

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.inner(features)
            return outputs

    torch.manual_seed(0)
    model = Flagged()
    list(train(model, Regression(), tables(ROWS), training(8, 4, num_workers=here.world_size), here))
    return {"weights": bits(model)}


class PartlyUsed(Regression):
    """Some parameters take no part in the loss, and the task calls a method of the model."""

    class Model(nn.Module):
        def __init__(self, used: nn.Module) -> None:
            super().__init__()
            self.used, self.unused = used, nn.Linear(3, 3)

        def predict(self, features: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.used(features)
            return outputs

    def build_model(self, width: float = 1.0) -> nn.Module:
        return self.Model(super().build_model())

    def forward(self, model: Any, batch: Any) -> Any:
        return model.predict(batch["features"])


class Routed(Regression):
    """Rows of one kind go through a network of their own as well, which a worker that has none of them leaves unused.

    Not in eval mode, so that a look before the first step finds nothing unused.
    """

    skips_parameters = True

    def build_model(self, width: float = 1.0) -> nn.Module:
        return nn.ModuleList([super().build_model(), super().build_model()])

    def forward(self, model: Any, batch: Any) -> Any:
        features = batch["features"]
        usual, special = model
        routed = features[:, :1] > 1.2  # one of the 24 rows
        outputs = usual(features)
        return outputs + routed * special(features) if routed.any() or not model.training else outputs


class Lazy(Regression):
    """Its first layer gets its shape from the data."""

    def build_model(self, width: float = 1.0) -> nn.Module:
        return nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 1))


class Shaken(Regression):
    """Draws from the generators of Python and NumPy."""

    def forward(self, model: Any, batch: Any) -> Any:
        return super().forward(model, batch) * random.uniform(0.5, 1.5) * np.random.uniform(0.5, 1.5)  # noqa: S311


def noise_scale(here: WorkerContext, measures: bool) -> dict[str, Any]:
    """Steps that move nothing, each on all rows, so that each worker's gradient is always the same one."""
    wanted = NoiseScale(every_steps=1) if measures else None
    task, settings = Regression(**STEADY), training(ROWS, 4, num_workers=here.world_size, noise_scale=wanted)
    noise = GradientNoise(settings.model_copy(update={"learning_rate": 1e-30}), ROWS, here)
    model = build(task, dtype=DOUBLE)
    own = {name: column[here.rank :: here.world_size] for name, column in _columns().items()}
    gradients = torch.autograd.grad(task.losses(task.forward(model, own), own).mean(), list(model.parameters()))
    still = settings.model_copy(update={"learning_rate": 1e-30})
    list(train(model, task, tables(ROWS, dtype=DOUBLE), still, here, noise=noise))
    moved = build(task, dtype=DOUBLE)
    list(train(moved, task, tables(ROWS, dtype=DOUBLE), settings, here, noise=GradientNoise(settings, ROWS, here)))
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    return {"gradient": flat, "state": noise.meter.state(), "weights": bits(moved)}


def _columns() -> dict[str, torch.Tensor]:
    rows = table(ROWS, dtype=DOUBLE)
    return {name: rows.column(name) for name in rows.columns}


def local(here: WorkerContext, every: int | None, **changes: Any) -> dict[str, Any]:
    """Plain batches in float64, workers meeting every so many steps: what is seen in evaluations, and the end."""
    seen: list[torch.Tensor] = []

    class Watched(Regression):
        def forward(self, model: Any, batch: Any) -> Any:
            if not model.training:
                seen.append(torch.cat([value.detach().flatten() for value in model.parameters()]))
            return super().forward(model, batch)

    task = Watched(0.0, **{"batch_norm": False} | changes.pop("task", {}))
    settings = training(8, 21, num_workers=here.world_size, sync_every_steps=every, evaluations=3, **changes)
    model = build(task, seed=here.rank if every else 0, dtype=DOUBLE)  # whatever they begin with, they begin alike
    history = list(train(model, task, tables(ROWS, dtype=DOUBLE), settings, here))
    norms = [report.metrics["gradient_norm_mean"] for report in history]
    # The first one only completes the model, before the workers begin alike.
    return {"weights": bits(model), "evaluated": torch.stack(seen[1:]), "norms": norms}


class Synced(Regression):
    """Batch norm over the rows of all workers."""

    def build_model(self, width: float = 1.0) -> nn.Module:
        pixels = nn.Sequential(nn.Linear(3, 24), nn.Unflatten(1, (6, 2, 2)))
        return nn.Sequential(pixels, SyncBatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 1))


def whole_trial(here: WorkerContext) -> dict[str, Any]:
    """A baseline of real data from beginning to end."""
    named = TaskConfig(name="digits_cnn", options={"channels": 4}, data="of the test", code="of the test")
    config = BaselineConfig(task=named, training=training(32, 10, num_workers=here.world_size, evaluations=2))
    *reports, result = run_trial("0123456789ab", config, here)
    assert isinstance(result, TrialResult)
    return {
        "steps": [report.step for report in reports],
        "status": str(result.status),
        "files": result.files,
        "metrics": {name: figure.value for name, figure in result.metrics.items()},
        "left": here.storage.names("trials/0123456789ab"),
    }


def of_more(here: WorkerContext) -> dict[str, Any]:
    """Of more than two workers: in which order they add up shows in the last bits."""
    settings = training(12, 20, num_workers=here.world_size, optimizer=Adam())
    return {"whole": interrupted(here, settings, 0, "three.pt"), "resumed": interrupted(here, settings, 3, "parts.pt")}


def everything(here: WorkerContext) -> dict[str, Any]:
    workers = here.world_size
    adam = {"optimizer": Adam(), "num_workers": workers}
    in_seconds = training(8, num_workers=workers, budget=Budget(unit="seconds", amount=0.5))
    with_limits = {"gradient_clip_norm": 0.5, "micro_batch_limit": 4}
    results = {
        "plain": full_batch(Regression(**STEADY), here),
        "ragged": full_batch(Ragged(**STEADY), here, **with_limits),
        "padded": full_batch(Tags(double=True), here, tags_tables(ROWS), micro_batch_limit=4),
        "weighted": full_batch(Weighted(**STEADY), here, **with_limits),
        "averaged": full_batch(Regression(**STEADY), here, ema=0.9),
        "limits": full_batch(Regression(**STEADY), here, **with_limits),
        "partly used": full_batch(PartlyUsed(**STEADY), here, micro_batch_limit=4),
        "routed": full_batch(Routed(**STEADY), here),
        "routed, accumulated": full_batch(Routed(**STEADY), here, micro_batch_limit=4),
        "synced": full_batch(Synced(), here),
        "lazy": full_batch(Lazy(), here),
        "evaluated": {
            str((rows, limit)): {
                name: estimate.model_dump()
                for name, estimate in evaluate(
                    build(kind()).to(here.device), kind(), table(rows, seed=5), here, batch_rows=4, limit=limit
                ).items()
            }
            for kind, rows, limit in [(Regression, 1, None), (Regression, 21, None), (Ragged, 22, 9)]
        },
    }
    if workers > 1:
        results |= {
            "whole": interrupted(here, training(8, 20, **adam), 0, "whole.pt"),
            "resumed": interrupted(here, training(8, 20, **adam), 6, "resumed.pt"),
            "diverged": [diverging(here, 0), diverging(here, 1)],
            "seconds": [r.step for r in train(build(Regression()), Regression(), tables(ROWS), in_seconds, here)],
            "flagged": flagged(here),
            "trial": whole_trial(here),
            "noise": noise_scale(here, True),
            "local": {
                name: local(here, every, **changes)
                for name, every, changes in [
                    ("none", None, {}),
                    ("1", 1, {}),
                    ("plain 4", 4, {}),
                    ("4", 4, {"task": {"batch_norm": True}}),
                    ("adam", 4, {"optimizer": Adam(), "sharding": "block", "data_order": SortedBy(column="target")}),
                ]
            },
            "local whole": interrupted(here, training(8, 20, sync_every_steps=3, **adam), 0, "local whole.pt"),
            "local resumed": interrupted(here, training(8, 20, sync_every_steps=3, **adam), 6, "local resumed.pt"),
            "no noise": noise_scale(here, False),
        }
    return results


def main() -> None:
    rank, workers, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    device, backend = torch.device("cpu"), "gloo"
    if len(sys.argv) > 4:
        enough = torch.cuda.device_count() >= workers
        device, backend = torch.device("cuda", rank if enough else 0), "nccl" if enough else "gloo"
        torch.cuda.set_device(device)
    if workers > 1:
        dist.init_process_group(backend, init_method=f"file://{folder}/meet-{workers}", rank=rank, world_size=workers)
    here = worker(folder, rank=rank, world_size=workers, device=device)
    torch.save(of_more(here) if workers > 2 else everything(here), folder / f"{workers}-{rank}.pt")
    if workers > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
