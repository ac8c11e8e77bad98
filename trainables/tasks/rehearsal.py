"""A task tried on the first rows of its data, in a moment: what would otherwise be learned from its first trial."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from trainables.data import open_data
from trainables.data.preview import preview
from trainables.evaluate import ItemsError, item_values
from trainables.tasks.base import Task
from trainables.tasks.load import TaskError

OURS = Path(__file__).resolve().parents[1]
TORCH = Path(torch.__file__).resolve().parent


def rehearse(task: Task, cache: Path) -> None:
    """Look at the columns of all three sets of data; build the model; on a few rows, train for no step and judge.

    On the CPU, with random weights; of the test data only the columns are looked at. Nothing is kept.
    Raises DataError for data that cannot be used, TaskError for what the task's own code does with it.
    """
    data = open_data(task, cache, preview)
    _ = data.test  # its columns are compared with the others'
    with _told(task, ".build_model() failed"):
        model = task.build_model()
    for split, table in (("train", data.train), ("validation", data.validation)):
        batch = table.gather(np.arange(table.n_rows))
        with _told(task, f" failed on the first {table.n_rows} rows of its {split} data"):
            model.train(split == "train")
            outputs = task.forward(model, batch)
            loss = item_values(task, outputs, batch)["loss"].sum()
        if split == "train" and not loss.requires_grad:
            raise TaskError(f"{type(task).__name__}.losses() does not depend on any parameter of the model")


@contextmanager
def _told(task: Task, what: str) -> Iterator[None]:
    try:
        yield
    except ItemsError as error:
        raise TaskError(str(error)) from error
    except Exception as error:
        raise TaskError(f"{type(task).__name__}{what}: {type(error).__name__}: {_said(error)}") from error


def _said(error: Exception) -> str:
    """The first line of an error, and where in the user's own code it happened."""
    first = next((line for line in str(error).splitlines() if line.strip()), "no message").strip()
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not {OURS, TORCH} & set(Path(f.filename).resolve().parents)]
    return f"{first} ({Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name})" if own else first
