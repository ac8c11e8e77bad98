"""The variants of a sweep, made of a model that is not trained yet: what stands in the way of one is known in seconds.

Tried       by the functions of the trials, on a few rows: channels are found and removed, and a step of fine-tuning is
            taken; a student is built, and takes a step of distillation; integers are prepared, calibrated and
            converted. What comes of it is exported, run, and judged by the task.
Not tried   compiling and timing, which take minutes, and whose failures are mostly a machine's; reading the file in
            another process, which is done with the parent's. Accuracy, and which channels go, depend on the trained
            weights, so nothing is said of them.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from orchestrator.task_facts.data_preview import PREVIEW_ROWS
from orchestrator.task_facts.dry_run_steps import DRY_RUN_LEARNING_RATE, Attempt, NotTriedError
from trainables.compression.compress import CompressedModel, apply, int8_warnings
from trainables.compression.fine_tune import Context, example_inputs
from trainables.config.compression import Compression, describe_chain
from trainables.config.training import Budget, Training
from trainables.config.trial import TaskConfig, VariantConfig
from trainables.distributed.worker_context import WorkerContext
from trainables.measure.measure import of_first_rows
from trainables.measure.plain_outputs import WithNames
from trainables.storage import Storage
from trainables.tasks.load import TaskError
from trainables.tasks.task_data import TaskData
from trainables.training.errors import Diverged
from trainables.training.evaluate import item_values


@dataclass(frozen=True)
class VariantFindings:
    problems: tuple[str, ...]  # each of the variants that it stands in the way of
    notes: tuple[str, ...]  # what a variant will say of itself


def try_variants(attempt: Attempt, until: float) -> VariantFindings:
    """Make every variant that is asked for. `until`: of `time.monotonic()`; none is begun later."""
    failed: dict[str, list[str]] = defaultdict(list)
    said: dict[str, list[str]] = defaultdict(list)
    for chain in attempt.asked.chains:
        label = describe_chain(chain)
        if time.monotonic() > until:
            said["not tried before training, since trying the task took long"].append(label)
            continue
        try:
            for warning in _try(attempt, chain):
                said[warning].append(label)
        except TaskError as error:
            failed[str(error)].append(label)
        except NotTriedError:
            pass
    return VariantFindings(
        problems=tuple(
            f"{_and(labels)}: {problem}, or leave {'it' if len(labels) == 1 else 'them'} out of compression.variants"
            for problem, labels in failed.items()
        ),
        notes=tuple(
            note if note.startswith(_and(labels)) else f"{_and(labels)}: {note}" for note, labels in said.items()
        ),
    )


def _and(labels: Iterable[str]) -> str:
    *others, last = labels
    return f"{', '.join(others)} and {last}" if others else last


def _try(attempt: Attempt, chain: tuple[Compression, ...]) -> tuple[str, ...]:
    """The variant's warnings. Raises TaskError for what keeps it from being made, and NotTriedError."""
    rows = attempt.rows(attempt.data.validation, PREVIEW_ROWS)
    with attempt.doing(" cannot be compressed"), tempfile.TemporaryDirectory(dir=attempt.folder) as folder:
        config = _config(attempt, chain)
        context = _context(attempt, config.training, Path(folder))
        made = CompressedModel(attempt.model.eval())
        try:
            for _ in apply("dry-run", config, context, made):
                pass
        except Diverged:  # which its trained weights may not do
            return made.warnings
        exported = WithNames(made.program(context, example_inputs(context, made.model)).module())
        with torch.no_grad():
            item_values(
                attempt.task, of_first_rows(attempt.task.forward(exported, rows), PREVIEW_ROWS, PREVIEW_ROWS), rows
            )
    if made.quantized is None:
        return made.warnings
    machines = made.quantized.warnings
    return (*(one for one in made.warnings if one not in machines), *int8_warnings(made.quantized.converted_fraction))


def _config(attempt: Attempt, chain: tuple[Compression, ...]) -> VariantConfig:
    """Of a parent that was trained for one step."""
    training = Training(
        batch_size=PREVIEW_ROWS,
        micro_batch_size=PREVIEW_ROWS,
        learning_rate=DRY_RUN_LEARNING_RATE,
        budget=Budget(unit="steps", amount=1),
        precision=attempt.asked.precisions[0],
        evaluations=1,
        noise_scale=None,
    )
    return VariantConfig(
        task=TaskConfig(name=attempt.name, data="", code=""), parent="", training=training, chain=chain
    )


def _context(attempt: Attempt, training: Training, folder: Path) -> Context:
    """The first rows, in folders of the variant's own: what one training leaves, another would go on from."""
    train, validation = (
        table.of_rows(np.arange(PREVIEW_ROWS) % table.n_rows) for table in (attempt.data.train, attempt.data.validation)
    )
    data = TaskData(train, validation, lambda: attempt.data.test)
    return Context(attempt.task, data, training, WorkerContext(Storage(str(folder)), folder))
