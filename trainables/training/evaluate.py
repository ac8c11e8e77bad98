"""The mean of the loss and of every metric of a task over a table, each with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.compat import TorchDispatchMode, tree_leaves
from trainables.config.training import Precision, Training
from trainables.distributed.worker_context import WorkerContext
from trainables.errors import ParetuneError
from trainables.estimate import Estimate
from trainables.process.heartbeat import beat
from trainables.tasks.base import Batch, Task
from trainables.training.gradient_noise import without_trace

if TYPE_CHECKING:
    from trainables.data.table import Table
    from trainables.tasks.task_data import TaskData

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
SUMS = ("items", "sum", "sum of squares", "sum of squares of the means of rows")  # kept of every metric
SMALL_BATCH_BYTES = 256 * 1024  # bytes of the rows themselves
SMALL_OUTPUTS_BYTES = 64 << 20  # bytes of everything that is computed from them
LOOKED_AT_ROWS = 32  # rows of a table to check, evenly spread
MOST_ROWS = 1024  # most rows of one batch
SAMPLE_SEED = 0  # seed of the fixed sample of rows: the same in every trial, so that trials can be compared


class ItemsError(ParetuneError, ValueError):
    """A task's method did not return one value per item; the message names the method."""


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which a forward pass runs at this precision; parameters stay float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=AUTOCAST[precision])


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """In the block, the model is in eval mode; every module's own mode is restored afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def evaluate(
    model: nn.Module,
    task: Task,
    table: Table,
    worker: WorkerContext,
    batch_rows: int = 1024,
    limit: int | None = None,
    precision: Precision = "float32",
) -> dict[str, Estimate]:
    """Mean of "loss" and of every metric of the task, over all rows or over a fixed sample of `limit` rows.

    The rows are divided among the workers, and every worker returns the figures over all rows. Means are over items, as
    in training; intervals treat rows as the independent observations, because the items of a row (the tokens of a text)
    are not independent. The model is in eval mode meanwhile; its own mode is restored.
    """
    names = ["loss", *task.metrics]
    sums = torch.zeros(len(names), len(SUMS), dtype=torch.float64, device=worker.device)
    ratios = torch.full((len(names), 2), math.inf, dtype=torch.float64)  # items per row: least, and minus the most
    with in_eval_mode(model), torch.no_grad(), autocast(precision, worker.device):
        for rows in _batches(_own_rows(table, limit, worker), batch_rows):
            batch = {name: tensor.to(worker.device) for name, tensor in table.gather(rows).items()}
            values = item_values(task, task.forward(model, batch), batch).values()
            sums += torch.stack([_sums(value.to(worker.device, torch.float64), len(rows)) for value in values])
            beat()
            ratios = torch.minimum(ratios, torch.stack([_items_per_row(value, rows, table) for value in values]))
    if worker.world_size > 1:
        ratios = ratios.to(worker.device)
        dist.all_reduce(sums)
        dist.all_reduce(ratios, op=dist.ReduceOp.MIN)
    return {name: _estimate(*figures) for name, *figures in zip(names, sums.tolist(), ratios.tolist(), strict=True)}


def evaluate_both(
    model: nn.Module, task: Task, data: TaskData, training: Training, worker: WorkerContext, batch_rows: int
) -> dict[str, Estimate]:
    """val_<m> on the validation data, and train_<m> on as many training rows, to tell overfitting from underfitting.

    In the precision of the training, and in batches of `batch_rows` (see `evaluation_rows`).
    """
    precision, limit = training.precision, data.validation.n_rows
    validation = evaluate(model, task, data.validation, worker, batch_rows, precision=precision)
    train = evaluate(model, task, data.train, worker, batch_rows, limit, precision)
    return {f"val_{name}": value for name, value in validation.items()} | {
        f"train_{name}": value for name, value in train.items()
    }


def evaluation_rows(model: nn.Module, task: Task, table: Table, training: Training, worker: WorkerContext) -> int:
    """Rows of one evaluation batch: a micro-batch, which is known to fit in memory, or more if rows are small.

    The memory that a row needs in the model is measured: a small row can become a large one, and if a task cuts away
    padding, all rows of a batch are as long as its longest. So beside the first row, micro-batches of rows from all
    over the table are measured, as long as they can still change the answer.
    """
    micro = training.micro_batch_size
    spread = np.unique(np.linspace(0, table.n_rows - 1, LOOKED_AT_ROWS, dtype=np.int64))
    small = min(MOST_ROWS, SMALL_BATCH_BYTES // row_bytes(table))
    with in_eval_mode(model), without_trace(model, worker.device):  # a run that is resumed looks once more than others
        longest = np.arange(1) if table.lengths is None else np.array([table.lengths.argmax()])
        for rows in (longest, *_batches(spread, micro)):
            if small <= micro:
                break
            taken = _bytes_per_row(model, task, table, rows, training.precision, worker)
            small = min(small, SMALL_OUTPUTS_BYTES // max(1, taken))
    return min(MOST_ROWS, max(micro, small))


def _bytes_per_row(
    model: nn.Module, task: Task, table: Table, rows: np.ndarray, precision: Precision, worker: WorkerContext
) -> int:
    """Bytes of everything that is computed for a batch, divided by its rows and rounded up."""
    within = _Outputs()
    with torch.no_grad(), autocast(precision, worker.device), within:
        batch = {name: tensor.to(worker.device) for name, tensor in table.gather(rows).items()}
        item_values(task, task.forward(model, batch), batch)
    return -(-within.bytes // len(rows))


class _Outputs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of everything that is computed: more than is ever held at one time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        self.bytes += sum(value.nbytes for value in tree_leaves(outputs) if isinstance(value, Tensor))
        return outputs


def row_bytes(table: Table) -> int:
    """Bytes of one row, the longest where they are of unequal length, all columns; at least 1."""
    return max(1, table.bytes_of_longest_row)


def _own_rows(table: Table, limit: int | None, worker: WorkerContext) -> np.ndarray:
    rows = np.arange(table.n_rows)
    if limit is not None and limit < table.n_rows:
        rows = np.sort(np.random.default_rng(SAMPLE_SEED).choice(table.n_rows, limit, replace=False))
    own = np.array_split(rows, worker.world_size)[worker.rank]
    # Means do not care in which order rows come, so batches are made of rows of about one length.
    return own if table.lengths is None else own[np.argsort(table.lengths[own], kind="stable")]


def _batches(rows: np.ndarray, batch_rows: int) -> Sequence[np.ndarray]:
    return [rows[start : start + batch_rows] for start in range(0, len(rows), batch_rows)]


def item_losses(task: Task, outputs: Tensor, batch: Batch) -> Tensor:
    """The loss of every item: [items]. Raises ItemsError if the task gives anything else."""
    return _per_item(f"{type(task).__name__}.losses()", task.losses(outputs, batch), batch)


def training_item_losses(task: Task, model: nn.Module, batch: Batch) -> Tensor:
    """The loss that a step minimises, for every item: [items]. Raises ItemsError for other shapes."""
    name, taken = type(task).__name__, task.training_batch(batch)
    if not isinstance(taken, Mapping) or {len(column) for column in taken.values()} != {_rows(batch)}:
        raise ItemsError(
            f"{name}.training_batch() must give a dict of columns, each with the {_rows(batch)} rows given"
        )
    method = "losses" if type(task).training_losses is Task.training_losses else "training_losses"
    return _per_item(f"{name}.{method}()", task.training_losses(task.forward(model, taken), taken), taken)


def _rows(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def item_values(task: Task, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
    """ "loss" and every metric of the task, one value per item: name -> [items]. Raises ItemsError if they are not."""
    name, scores = type(task).__name__, task.scores(outputs, batch)
    if missing := [metric for metric in task.metrics if metric not in scores]:
        raise ItemsError(f"{name}.scores() returned {sorted(scores)}, without {missing} of its metrics")
    mean = "; a metric is the mean of them, which F1 or AUC are not"
    checked = {
        metric: _per_item(f"{name}.scores()[{metric!r}]", scores[metric], batch, mean) for metric in task.metrics
    }
    return {"loss": item_losses(task, outputs, batch), **checked}


def _per_item(what: str, values: Tensor, batch: Batch, why: str = "") -> Tensor:
    if not isinstance(values, Tensor):
        raise ItemsError(f"{what} must give a tensor with one value per item, not a {type(values).__name__}{why}")
    if values.ndim == 0 and all(len(column) == 1 for column in batch.values()):
        return values.reshape(1)  # a squeeze() takes the one row of a batch away with the rest
    if values.ndim != 1:
        raise ItemsError(f"{what} must give one value per item, shape [items]; got shape {list(values.shape)}{why}")
    return values


def _items_per_row(values: Tensor, rows: np.ndarray, table: Table) -> Tensor:
    """The least and minus the most items that a row of a batch may have. `values`: [items]."""
    if table.lengths is not None and len(values) != len(rows) and len(np.unique(table.lengths[rows])) > 1:
        return torch.tensor([0.0, -math.inf], dtype=torch.float64)  # they differ, whatever their mean is
    ratio = len(values) / len(rows)
    return torch.tensor([ratio, -ratio], dtype=torch.float64)


def _sums(values: Tensor, rows: int) -> Tensor:
    """SUMS of one batch. `values`: [items]."""
    by_row = values.reshape(rows, -1).mean(1) if values.numel() % rows == 0 else values
    ones = torch.ones_like(values)
    return torch.stack([ones.sum(), values.sum(), values.square().sum(), by_row.square().sum()])


def _estimate(sums: list[float], ratios: list[float]) -> Estimate:
    items, total, square_sum, row_mean_square_sum = sums
    least, most = ratios[0], -ratios[1]
    if not items:
        return Estimate(value=math.nan, n=0, note="nothing to evaluate")
    if least == most and least.is_integer():  # all rows alike: the items of a row stand together
        return Estimate.of_values(total / least, row_mean_square_sum, round(items / least)).model_copy(
            update={"value": total / items}
        )
    return Estimate.of_values(total, square_sum, round(items)).model_copy(
        update={"note": "rows have different numbers of items, so each item passes for an observation of its own"}
    )
