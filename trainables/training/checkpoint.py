"""The state of a training run between two evaluations, as one file. A reported evaluation is never lost by a kill."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from trainables.distributed.worker_context import WorkerContext
from trainables.error_text import TrialWarning, first_line
from trainables.errors import ParetuneError
from trainables.process.memory import out_of_memory
from trainables.results import Report
from trainables.seal import DamagedFileError, seal, unsealed
from trainables.training.noise_scale import NoiseScaleMeter
from trainables.training.weight_average import WeightAverage


class UnreadableCheckpointError(ParetuneError):
    """The content of the file is not a state of this training."""


@dataclass
class TrainingState:
    """The whole state of a training run between two evaluations.

    `rows` is the position in the data (see `data.shards`): the rows that each worker has taken so far. Random
    generators are seeded again from `step` after every evaluation, so their states are not needed.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    rows: int = 0
    growth: int = 1  # current batch size over the initial one
    seconds: float = 0.0
    history: list[Report] = field(default_factory=list)
    noise: NoiseScaleMeter | None = None
    average: WeightAverage | None = None

    def save(self, worker: WorkerContext, name: str) -> None:
        """Write the first worker's state, which all share, to the storage, atomically. All workers return after it."""
        if worker.is_rank_zero:
            worker.storage.write(name, self.content())
        worker.wait_for_all()

    def content(self) -> bytes:
        """The content of the file: in memory, a second copy of all weights and optimiser states."""
        return to_bytes(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "step": self.step,
                "rows": self.rows,
                "growth": self.growth,
                "seconds": self.seconds,
                "history": [report.model_dump() for report in self.history],
                "noise": self.noise.state() if self.noise else None,
                "average": self.average.state() if self.average else None,
            }
        )

    def resume(self, worker: WorkerContext, name: str) -> None:
        """Load the saved state, if there is a readable one; otherwise nothing changes.

        All workers read it before any continues, and must find the same bytes. Raises RuntimeError if they do not, and
        errors of the storage, as an unreachable storage does not mean that there is no checkpoint.
        """
        if worker.storage.exists(name):
            content, shown = worker.storage.read(name), worker.storage.display(name)
            try:
                self._take_over_whole(unsealed(content, shown), worker.device)
            except (DamagedFileError, UnreadableCheckpointError) as error:
                if worker.is_rank_zero:
                    said = str(error) if isinstance(error, DamagedFileError) else f"{shown} {error}"
                    warnings.warn(f"{said}; the training started again from the beginning", TrialWarning, stacklevel=2)
        if worker.world_size > 1:
            step = torch.tensor([self.step, -self.step], device=worker.device)
            dist.all_reduce(step, op=dist.ReduceOp.MIN)
            if step[0] != -step[1]:
                raise RuntimeError(
                    f"workers found different checkpoints in {worker.storage.label}: the storage must be one that the "
                    "machines of all workers reach, such as a network file system or a bucket"
                )

    def _take_over_whole(self, content: bytes, device: torch.device) -> None:
        """Load a saved state completely, or not at all. Raises UnreadableCheckpointError."""
        before = self.content()
        try:
            self._take_over(from_bytes(content, device))
        except Exception as error:  # damage, or another version's file, shows itself anywhere
            if out_of_memory(error):
                raise
            try:
                self._take_over(from_bytes(before, device))
            except Exception as again:
                raise RuntimeError(
                    f"the state of this model cannot be loaded after it was saved, so its training cannot be resumed "
                    f"({type(again).__name__}: {first_line(again)}); buffers and extra state must be plain tensors"
                ) from again
            what = type(error).__name__  # without torch's message, which suggests to run code from the file
            raise UnreadableCheckpointError(f"is damaged, or of another version ({what})") from error

    def _take_over(self, saved: dict[str, Any]) -> None:
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.rows, self.growth = saved["rows"], saved["growth"]
        self.history = [Report.model_validate(report) for report in saved["history"]]
        if self.noise is not None and saved["noise"] is not None:
            self.noise.restore(saved["noise"])
        if self.average is not None:
            self.average.restore(saved["average"])


def to_bytes(state: dict[str, Any]) -> bytes:
    """Tensors and plain values in the form of `torch.save`, sealed, as torch itself does not detect flipped bits."""
    content = io.BytesIO()
    torch.save(state, content)
    seal(content)
    return content.getvalue()


def from_bytes(content: bytes, device: torch.device) -> dict[str, Any]:
    """The content from `to_bytes`, with tensors on `device`; a file that would run code is refused. The seal is not
    checked.
    """
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    return state
