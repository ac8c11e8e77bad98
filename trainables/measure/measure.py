"""Measures an exported model beside its parent: accuracy, size and latency of the reloaded and compiled file.

It runs in a fresh process, `python -m trainables.measure.measure REQUEST.json RESPONSE.json`, which `client` starts.
Both models are compiled in the same way, separately for each batch size, with frozen weights, as for serving.
"""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trainables.compat import compiler_config, tree_map_only
from trainables.config.base import FrozenConfig, FrozenResult
from trainables.config.trial import MeasureSettings, TaskConfig
from trainables.data.table import Table
from trainables.estimate import Estimate
from trainables.measure.exported_model import ExportedModel, call, has_bfloat16, resolve_device, synchronize
from trainables.measure.latency import has_tail, latency_ms, median_ratio, time_beside_control, time_in_turn
from trainables.measure.model_inputs import model_inputs
from trainables.measure.plain_outputs import WithNames
from trainables.process.fresh_process import answer
from trainables.tasks.base import Batch, Task
from trainables.tasks.load import load_task
from trainables.tasks.task_data import open_data
from trainables.training.evaluate import ItemsError, item_values

FromSums = Callable[[float, float, int], Estimate]  # (sum, sum of squares, number of observations) -> estimate
CONTROL_FIGURE = "control_latency"
METRIC_PREFIX = {"validation": "val", "test": "test"}


class MeasureRequest(FrozenConfig):
    """A request to measure. Paths are local files and folders."""

    task: TaskConfig
    model: str
    parent: str | None  # the parent's exported model; None: no changes, ratios or reference figures
    measure: MeasureSettings
    split: Literal["validation", "test"] = "validation"
    latency: bool = True
    cache: str


class Measurement(FrozenResult):
    """The measured figures; metric names as in `results.py`, with `test_` for `val_` on the test data."""

    metrics: dict[str, Estimate]
    environment: dict[str, str]


def measure(request: MeasureRequest) -> Measurement:
    """Measure in this process. Its global settings (threads, compiler) change permanently."""
    device = resolve_device(request.measure)
    torch.set_num_threads(request.measure.threads)
    compiler_config.freezing = True  # constants folded, weights laid out for the kernels
    task = load_task(request.task.name, request.task.options, ())
    data = open_data(task, Path(request.cache), planned=request.task.data)
    table = data.validation if request.split == "validation" else data.test

    subjects = {"": ExportedModel(Path(request.model), device)}
    if request.parent is not None:
        subjects["reference_"] = ExportedModel(Path(request.parent), device)
    with torch.no_grad():
        metrics = accuracy(subjects, task, table, request, device)
        if request.latency:
            metrics |= measure_latencies(subjects, task, table, request.measure, device)
    for prefix, subject in subjects.items():
        metrics[f"{prefix}artifact_bytes"] = Estimate.exact(subject.path.stat().st_size)
        note = "one time; seconds if the compiler's cache is empty, less if it is not"
        metrics[f"{prefix}compile_seconds"] = Estimate.exact(subject.compile_seconds, note)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    metrics["process_peak_rss_bytes"] = Estimate.exact(peak, "the measuring process: torch, compiler, all models in it")
    return Measurement(metrics=metrics, environment=environment(request.measure, device))


# -- accuracy ---------------------------------------------------------------------------------------------------------


def accuracy(
    subjects: dict[str, ExportedModel], task: Task, table: Table, request: MeasureRequest, device: torch.device
) -> dict[str, Estimate]:
    """Loss and every metric of each model, and their change from the parent, paired row by row."""
    names = ["loss", *task.metrics]
    rows_per_call = max(request.measure.batch_sizes)
    found: dict[str, dict[str, list[Tensor]]] = {prefix: {name: [] for name in names} for prefix in subjects}
    rows_of_calls = []
    for subject in subjects.values():
        subject.warm_up(model_inputs(task, subject.eager, gather(table, rows_per_call, 0, device)))
    for start in range(0, table.n_rows, rows_per_call):
        full = gather(table, rows_per_call, start, device)
        rows = min(rows_per_call, table.n_rows - start)
        rows_of_calls.append(rows)
        batch = {name: column[:rows] for name, column in full.items()}
        for prefix, subject in subjects.items():
            outputs = of_first_rows(task.forward(WithNames(subject.compiled), full), rows, rows_per_call)
            values = item_values(task, outputs, batch)
            for name in names:
                found[prefix][name].append(values[name].double().cpu())
    split, alike = METRIC_PREFIX[request.split], table.has_even_rows
    metrics = {}
    for prefix in subjects:
        for name in names:
            metrics[f"{prefix}{split}_{name}"] = mean_over_rows(found[prefix][name], rows_of_calls, alike=alike)
    if "reference_" in subjects:
        for name in names:
            metrics[f"{split}_{name}_change"] = change(
                found[""][name], found["reference_"][name], rows_of_calls, alike=alike
            )
    return metrics


def of_first_rows(outputs: Any, rows: int, of: int) -> Any:
    """The outputs of the first `rows` of `of` rows: [of, ...], or [of x k, ...] with the k items of a row together.

    If a task's `forward` returns several tensors in a dict or tuple, of each tensor. Raises ItemsError for other
    shapes.
    """
    return tree_map_only(Tensor, lambda tensor: _of_first_rows(tensor, rows, of), outputs)


def _of_first_rows(outputs: Tensor, rows: int, of: int) -> Tensor:
    per_row, rest = divmod(outputs.shape[0] if outputs.ndim else 0, of)
    if rest or not per_row:
        shape = list(outputs.shape)
        raise ItemsError(f"the outputs for {of} rows must be of shape [rows, ...] or [rows x items, ...]; got {shape}")
    return outputs[: rows * per_row]


def gather(table: Table, rows: int, start: int, device: torch.device) -> Batch:
    """`rows` rows from `start` on, wrapping around at the end, so that every call has the compiled shape."""
    numbers = np.arange(start, start + rows, dtype=np.int64) % table.n_rows
    return {name: column.to(device) for name, column in table.gather(numbers, least_length=table.longest).items()}


def mean_over_rows(
    values: Sequence[Tensor],
    rows: Sequence[int],
    estimate: FromSums = Estimate.of_values,
    *,
    alike: bool = True,
) -> Estimate:
    """The mean over the items of all calls, each of shape [items]; its interval treats rows as independent.

    The items of a row (the tokens of a text) are not independent. If rows have different numbers of items, their
    borders are unknown; then items are treated as independent, in all calls, so that every item has the same weight.
    `alike` False: rows are known to have different numbers of items, unless each has one.
    """
    items_per_row = {items.numel() / count for items, count in zip(values, rows, strict=True)}
    every = torch.cat(list(values))
    if len(items_per_row) == 1 and (number := items_per_row.pop()).is_integer() and (alike or number == 1):
        return mean(every.reshape(-1, int(number)).mean(1), estimate)
    note = "rows have different numbers of items, so each item counts as an observation"
    return mean(every, estimate).model_copy(update={"note": note})


def change(own: Sequence[Tensor], parents: Sequence[Tensor], rows: Sequence[int], *, alike: bool = True) -> Estimate:
    """The mean difference between own and parent's values, each of shape [items] per call; paired row by row."""
    one, other = torch.cat(list(own)), torch.cat(list(parents))
    both = torch.cat([one, other])
    if one.numel() == sum(rows) and bool(((both == 0) | (both == 1)).all()):
        return Estimate.of_paired_shares(int((one > other).sum()), int((one < other).sum()), one.numel())
    differences = [mine - theirs for mine, theirs in zip(own, parents, strict=True)]
    return mean_over_rows(differences, rows, Estimate.of_mean, alike=alike)


def mean(values: Tensor, estimate: FromSums = Estimate.of_values) -> Estimate:
    return estimate(float(values.sum()), float(values.square().sum()), values.numel())


# -- latency ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TimedCall:
    """One form of a model to time: the name of its figures, and the function to call."""

    name: str
    run: Callable[..., object]


def measure_latencies(
    subjects: dict[str, ExportedModel], task: Task, table: Table, measure: MeasureSettings, device: torch.device
) -> dict[str, Estimate]:
    """p50 and p95 at both batch sizes, in milliseconds of one call with its inputs already on the device."""
    ways = [TimedCall("latency", subjects[""].compiled)]
    if parent := subjects.get("reference_"):
        ways += [
            TimedCall("reference_latency", parent.compiled),
            TimedCall(CONTROL_FIGURE, parent.compiled),  # the same compiled code again, for the control
            TimedCall("reference_eager_latency", parent.eager),
        ]
        if has_bfloat16(device):
            ways.append(TimedCall("reference_bfloat16_latency", parent.bfloat16))
    metrics: dict[str, Estimate] = {}
    for rows in sorted(set(measure.batch_sizes)):
        inputs = model_inputs(task, subjects[""].eager, gather(table, rows, 0, device))
        for subject in subjects.values():
            subject.warm_up(inputs)
        calls = {way.name: call(way.run, inputs, device) for way in ways}
        if CONTROL_FIGURE in calls:
            timed, ratio = time_beside_control(calls, (CONTROL_FIGURE, "reference_latency"), measure.rounds)
            metrics[f"{CONTROL_FIGURE}_ratio_batch_{rows}"] = ratio
            del timed[CONTROL_FIGURE]
        else:
            timed = time_in_turn(calls, measure.rounds)
        by_round = all(map(has_tail, timed.values()))  # for all or for none, as they are compared with each other
        for name, rounds in timed.items():
            metrics[f"{name}_p50_ms_batch_{rows}"] = latency_ms(rounds, 0.50)
            metrics[f"{name}_p95_ms_batch_{rows}"] = latency_ms(rounds, 0.95, by_round=by_round)
        if "reference_latency" in timed:
            ratio = median_ratio(timed["latency"], timed["reference_latency"])
            metrics[f"latency_ratio_batch_{rows}"] = ratio
    if device.type == "cuda":
        metrics["device_peak_memory_bytes"] = device_peak_memory(subjects[""], task, table, measure, device)
    return metrics


def device_peak_memory(
    subject: ExportedModel, task: Task, table: Table, measure: MeasureSettings, device: torch.device
) -> Estimate:
    """The memory of the compiled model for one call at the larger batch size, including weights."""
    inputs = model_inputs(task, subject.eager, gather(table, max(measure.batch_sizes), 0, device))
    synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    subject.compiled(*inputs)
    synchronize(device)
    activations = torch.cuda.max_memory_allocated(device) - before
    weights = sum(value.nbytes for value in subject.eager.state_dict().values())
    return Estimate.exact(activations + weights, "weights and the peak of one call; other models left out")


# -- the process ------------------------------------------------------------------------------------------------------


def environment(measure: MeasureSettings, device: torch.device) -> dict[str, str]:
    """The device, threads and versions for which the figures are valid."""
    on_cuda = device.type == "cuda"
    return {
        "measure_device": torch.cuda.get_device_name(device) if on_cuda else "cpu",
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": "measured" if has_bfloat16(device) else "not measured: this device only emulates it",
        "measure_threads": str(measure.threads),
        "measure_rounds": str(measure.rounds),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def respond(request: str) -> str:
    return measure(MeasureRequest.model_validate_json(request)).model_dump_json()


if __name__ == "__main__":
    answer(respond, sys.argv[1:])
