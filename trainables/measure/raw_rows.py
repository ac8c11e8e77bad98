"""A model that takes raw rows: it carries along how their columns become numbers, as fitted on the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from trainables.compat import ArchiveReader
from trainables.config.base import FrozenConfig
from trainables.data.arrow_values import tensor_values
from trainables.data.columns import Stored
from trainables.data.preparation import Preparation
from trainables.data.selection import Selection
from trainables.data.sources import DataError
from trainables.errors import InputError
from trainables.measure.archive import PREPARATION_MEMBER, ArchiveError
from trainables.tasks.base import Task


class RawInputs(FrozenConfig):
    """The description of its input rows in the file of an exported model."""

    inputs: tuple[str, ...]  # the columns, in the order of the model's arguments
    prepared: str  # JSON of `Preparation`
    stored: tuple[str, ...] = ()  # columns that keep their type
    own_forward: str | None = None  # the task whose `forward` makes the arguments of the columns


def raw_inputs(task: Task) -> str | None:
    """The same as JSON, to be kept with the model; None for a task whose columns need no preparation."""
    if not task.fitted:
        return None
    own = type(task).forward is not Task.forward
    return RawInputs(
        inputs=tuple(task.inputs),
        prepared=Preparation(tuple(task.fitted.items())).to_json(),
        stored=tuple(Selection.of(None, task.columns).stored or ()),
        own_forward=type(task).__name__ if own else None,
    ).model_dump_json()


class RowModel(nn.Module):
    """An exported model with the preparation of its rows. Called with tensors, it is the model alone."""

    def __init__(self, model: nn.Module, raw: RawInputs) -> None:
        super().__init__()
        self.model, self._raw = model, raw
        self.preparation = Preparation.of_json(raw.prepared)

    def forward(self, *inputs: Tensor) -> Any:
        return self.model(*inputs)

    def prepare(self, rows: Any) -> dict[str, Tensor]:
        """The columns of raw rows as the model takes them: name -> tensor of shape [rows, ...].

        `rows`: a pandas data frame, an Arrow table, a dict of columns or a list of dicts, of which a row is one. Other
        columns are passed over. Raises DataError for a column that is missing or holds what the training
        could not have used.
        """
        table = _as_table(rows)
        if missing := [name for name in self._raw.inputs if name not in table.column_names]:
            raise DataError(f"the rows have no column {', '.join(map(repr, missing))}; they have {table.column_names}")
        stored = {name: Stored() for name in self._raw.stored}
        selection = Selection.of(self._raw.inputs, stored, self.preparation)
        return {name: _tensor(table, name, selection) for name in self._raw.inputs}

    def predict(self, rows: Any) -> Any:
        """The model's outputs for raw rows (see `prepare`), without gradients.

        Raises DataError, and InputError where only the task's own `forward` makes the model's inputs of its columns.
        """
        if self._raw.own_forward is not None:
            raise InputError(
                f"the model's inputs are made of the columns by forward() of {self._raw.own_forward}: call "
                "task.forward(model, model.prepare(rows))"
            )
        with torch.no_grad():
            return self.model(*self.prepare(rows).values())


def with_raw_rows(model: nn.Module, path: Path) -> nn.Module:
    """The model of a file, which takes raw rows too if the file says how. Raises ArchiveError."""
    reader = ArchiveReader(str(path))
    if PREPARATION_MEMBER not in reader.get_all_records():
        return model
    try:
        return RowModel(model, RawInputs.model_validate_json(reader.get_record(PREPARATION_MEMBER)))
    except ValidationError as error:
        raise ArchiveError(f"its member {PREPARATION_MEMBER} says nothing that this version can read") from error


def _as_table(rows: Any) -> Any:
    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, Mapping):
        return pa.table(dict(rows))
    if isinstance(rows, Sequence):
        return pa.Table.from_pylist(list(rows))
    return pa.Table.from_pandas(rows, preserve_index=False)


def _tensor(table: Any, name: str, selection: Selection) -> Tensor:
    array = table.column(name).combine_chunks()
    values = tensor_values(array, name, f"column {name!r} of the rows", selection)
    return torch.from_numpy(np.array(values))
