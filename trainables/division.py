"""How a batch is divided once memory has run out: the micro-batch that is tried instead of the planned one.

It stands beside the trial's checkpoint, so whoever goes on with the trial does not run out of memory again to learn it.
Imports no torch: where a worker was killed for its memory, the driver's side writes it down.
"""

from __future__ import annotations

from trainables.batching import split_batch
from trainables.storage import Storage, division_file
from trainables.training_config import Training


def next_division(training: Training) -> Training | None:
    """The largest micro-batch of at most half the size that divides a worker's share; None when it is a single row."""
    if training.micro_batch_size == 1:
        return None
    return _divided(training, training.micro_batch_size // 2)


def division_of(training: Training, storage: Storage, checkpoint: str) -> Training:
    """What is trained with: as planned, or as written down; what cannot be read was not written by `write_down`."""
    name = division_file(checkpoint)
    written = storage.read(name) if storage.exists(name) else b""
    return _divided(training, int(written)) if written.isdigit() and int(written) else training


def write_down(training: Training, storage: Storage, checkpoint: str) -> None:
    storage.write(division_file(checkpoint), str(training.micro_batch_size).encode())


def _divided(training: Training, most_rows: int) -> Training:
    micro, accumulation = split_batch(training.batch_size, training.num_workers, most_rows)
    return training.model_copy(update={"micro_batch_size": micro, "accumulation_steps": accumulation})
