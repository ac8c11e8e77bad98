"""The state of a training run between two readings, as one file. What was reported is never lost by a kill."""

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


class UnreadableCheckpointError(ParetuneError):
    """What is in the file is no state of this training."""


@dataclass
class TrainingState:
    """All that a training run carries from one reading to the next.

    `rows` is the position in the data (see `data.shards`): what each worker has taken so far. The random generators are
    seeded anew from `step` after every reading, so they need no place of their own.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    rows: int = 0
    growth: int = 1  # the batch over what it was at the beginning
    seconds: float = 0.0
    history: list[Report] = field(default_factory=list)
    noise: NoiseScaleMeter | None = None

    def save(self, worker: WorkerContext, name: str) -> None:
        """Write the state to the storage, atomically; the first worker's, which is everyone's. All return after it."""
        if worker.is_rank_zero:
            worker.storage.write(name, self.content())
        worker.wait_for_all()

    def content(self) -> bytes:
        """What the file holds. In memory it is a second copy of all weights and of what the optimiser keeps of them."""
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
            }
        )

    def resume(self, worker: WorkerContext, name: str) -> None:
        """Take over the saved state, if there is one that can be read; otherwise nothing changes.

        All workers read it before any goes on, and from the same bytes they come to the same end. Raises RuntimeError
        if they do not, and what the storage raises: that it does not answer says nothing about the checkpoint.
        """
        if worker.storage.exists(name):
            content, shown = worker.storage.read(name), worker.storage.display(name)
            try:
                self._take_over_whole(unsealed(content, shown), worker.device)
            except (DamagedFileError, UnreadableCheckpointError) as error:
                if worker.is_rank_zero:
                    said = str(error) if isinstance(error, DamagedFileError) else f"{shown} {error}"
                    warnings.warn(f"{said}; the training began anew", TrialWarning, stacklevel=2)
        if worker.world_size > 1:
            step = torch.tensor([self.step, -self.step], device=worker.device)
            dist.all_reduce(step, op=dist.ReduceOp.MIN)
            if step[0] != -step[1]:
                raise RuntimeError(
                    f"workers found different checkpoints in {worker.storage.label}: the storage must be one that the "
                    "machines of all workers reach, such as a network file system or a bucket"
                )

    def _take_over_whole(self, content: bytes, device: torch.device) -> None:
        """All of a saved state, or nothing of it. Raises UnreadableCheckpointError."""
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
            what = type(error).__name__  # without torch's words, which invite to run code that the file may hold
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


def to_bytes(state: dict[str, Any]) -> bytes:
    """Tensors and plain values, as `torch.save` writes them, sealed: torch itself does not see a bit that flipped."""
    content = io.BytesIO()
    torch.save(state, content)
    seal(content)
    return content.getvalue()


def from_bytes(content: bytes, device: torch.device) -> dict[str, Any]:
    """What `to_bytes` wrote, tensors on `device`; a file that would run code is refused. Does not look at the seal."""
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    return state
