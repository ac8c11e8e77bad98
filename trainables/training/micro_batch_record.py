"""The record of the micro-batch size that replaces the planned one after memory ran out.

It is stored beside the trial's checkpoint, so that a resumed trial does not run out of memory again. Imports no torch,
because the driver writes the record if a worker was killed for its memory.
"""

from __future__ import annotations

import json
import warnings

from trainables.config.batching import split_batch
from trainables.config.training import Training
from trainables.error_text import TrialWarning
from trainables.seal import DamagedFileError
from trainables.storage import Storage, division_file


def next_division(training: Training) -> Training | None:
    """The largest micro-batch of at most half the size that divides a worker's share; None for a single row."""
    if training.micro_batch_size == 1:
        return None
    return _divided(training, training.micro_batch_size // 2)


def division_of(training: Training, storage: Storage, checkpoint: str) -> Training:
    """The training as planned, or with the recorded micro-batch. A damaged record is reported and ignored."""
    name = division_file(checkpoint)
    if not storage.exists(name):
        return training
    try:
        return _divided(training, int(json.loads(storage.read_sealed(name))["micro_batch_size"]))
    except DamagedFileError as error:
        warnings.warn(f"{error}; the micro-batch size that fits was searched again", TrialWarning, stacklevel=2)
        return training


def write_down(training: Training, storage: Storage, checkpoint: str) -> None:
    content = json.dumps({"micro_batch_size": training.micro_batch_size})
    storage.write_sealed(division_file(checkpoint), content.encode())


def _divided(training: Training, most_rows: int) -> Training:
    micro, accumulation = split_batch(training.batch_size, training.num_workers, most_rows)
    return training.model_copy(update={"micro_batch_size": micro, "accumulation_steps": accumulation})
