"""`paretune probe`: runs one probe after another on this machine, then prints the results.

paretune probe digits_cnn
paretune probe my_package.my_module:MyTask --optimizer adamw --throughput --workers 1 --workers 2
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestrator.exit_codes import DONE, FAILED, INPUT_IS_WRONG, INTERRUPTED
from trainables.config.base import union_members
from trainables.config.optimizers import Optimizer
from trainables.config.training import Precision
from trainables.config.trial import ProbeConfig, Scalar, TaskConfig, Throughput
from trainables.errors import InputError

if TYPE_CHECKING:
    from orchestrator.report.probe_table import Probed

MAX_MICRO_BATCH, PROBE_ROUNDS = 65_536, 15
UNITS = {"": 1, "b": 1, "k": 2**10, "kib": 2**10, "m": 2**20, "mib": 2**20, "g": 2**30, "gib": 2**30}
UNITS |= {"kb": 10**3, "mb": 10**6, "gb": 10**9}


class OptimizerName(StrEnum):
    """The optimisers, each with default settings: an optimiser's memory per weight does not depend on its settings."""

    SGD = "sgd"
    ADAM = "adam"
    ADAMW = "adamw"
    RMSPROP = "rmsprop"
    ADAFACTOR = "adafactor"
    LION = "lion"
    LAMB = "lamb"
    MUON = "muon"


class PrecisionName(StrEnum):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


TaskName = Annotated[str, typer.Argument(metavar="TASK", help="A built-in task, or package.module:Class.")]
TaskOptions = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="An option of the task; may be repeated.")
]
Precisions = Annotated[
    list[PrecisionName] | None,
    typer.Option(help="A precision; may be repeated. By default all that the device supports."),
]
Optimizers = Annotated[
    list[OptimizerName] | None, typer.Option(help="An optimiser; may be repeated. By default sgd and adamw.")
]
Workers = Annotated[
    list[int] | None, typer.Option(min=1, help="A number of data-parallel workers; may be repeated. By default 1.")
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(help="Memory of one worker, such as 2GiB. By default the free memory of the device or the machine."),
]
MaxMicroBatch = Annotated[int, typer.Option(min=1, help="The largest micro-batch to try.")]
WithThroughput = Annotated[
    bool, typer.Option("--throughput", help="Also time steps, fit t(B) = a + b B/K + c(K), and find the knee.")
]
WithNeighbours = Annotated[
    bool,
    typer.Option("--neighbours", help="Also time powers of two in turn with sizes an eighth smaller and larger."),
]
Rounds = Annotated[int, typer.Option(min=3, help="Rounds of timing; an interval needs at least six.")]


def probe_command(
    task: TaskName,
    option: TaskOptions = None,
    precision: Precisions = None,
    optimizer: Optimizers = None,
    workers: Workers = None,
    memory_limit: MemoryLimit = None,
    max_micro_batch: MaxMicroBatch = MAX_MICRO_BATCH,
    throughput: WithThroughput = False,
    neighbours: WithNeighbours = False,
    rounds: Rounds = PROBE_ROUNDS,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each worker.")] = 1,
    format: Annotated[Literal["table", "json"], typer.Option(help="For people, or for scripts.")] = "table",
) -> None:
    """Find the largest micro-batch that fits this machine's memory, and how long its steps take.

    It runs real optimiser steps in fresh processes and keeps no model. A sweep's own probes run on its cluster instead.

    Example: paretune probe digits_cnn --throughput

    Example: paretune probe my_module:MyTask --optimizer adamw --memory-limit 2GiB --workers 1 --workers 2
    """
    try:
        configs, search_path = probes_of(
            task,
            dict(map(read_option, option or [])),
            precision=[name.value for name in precision or ()],
            optimizer=[name.value for name in optimizer or ()],
            workers=workers or (),
            memory_limit=memory_limit,
            max_micro_batch=max_micro_batch,
            throughput=throughput,
            neighbours=neighbours,
            rounds=rounds,
        )
    except ValueError as error:
        print(f"paretune: {error}", file=sys.stderr)
        raise typer.Exit(INPUT_IS_WRONG) from None
    raise typer.Exit(_probe_all(task, configs, search_path, threads, as_json=format == "json"))


def probes_of(
    task: str,
    options: Mapping[str, Scalar],
    *,
    precision: Sequence[Precision] = (),
    optimizer: Sequence[str] = (),
    workers: Sequence[int] = (),
    memory_limit: str | None = None,
    max_micro_batch: int = MAX_MICRO_BATCH,
    throughput: bool = False,
    neighbours: bool = False,
    rounds: int = PROBE_ROUNDS,
) -> tuple[list[ProbeConfig], tuple[str, ...]]:
    """The probes of one command, and the folders that hold the task's module.

    Raises SweepError for an unknown task, InputError for an invalid memory limit, precision or optimizer.
    """
    limit = None if memory_limit is None else read_bytes(memory_limit)
    for option, kinds, given in (("optimizer", OptimizerName, optimizer), ("precision", PrecisionName, precision)):
        if unknown := next((name for name in given if name not in list(kinds)), None):
            raise InputError(f"{option} {unknown!r} is unknown; it is one of {', '.join(kinds)}")
    named, search_path = _task(task, options)
    timing = _timing(throughput, neighbours, rounds, max_micro_batch)
    configs = [
        ProbeConfig(
            task=named,
            optimizer=_optimizer(OptimizerName(optimizer_name)),
            precision=precision_name,
            num_workers=num_workers,
            memory_limit_bytes=limit,
            max_micro_batch_size=max_micro_batch,
            throughput=timing,
        )
        for precision_name, optimizer_name, num_workers in product(
            precision or _precisions(), optimizer or (OptimizerName.SGD, OptimizerName.ADAMW), workers or (1,)
        )
    ]
    return configs, search_path


def read_bytes(text: str) -> int:
    """The bytes of `2GiB`, `500MB`, `1.5g` or `1000000`. Raises InputError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in UNITS or float(match[1]) <= 0:
        raise InputError(f"--memory-limit {text!r} is not an amount of memory; write it like 2GiB, 500MiB or 3GB")
    return int(float(match[1]) * UNITS[match[2]])


def _task(name: str, options: Mapping[str, Scalar]) -> tuple[TaskConfig, tuple[str, ...]]:
    """The task and the folders that hold its module. Raises SweepError with all problems."""
    from orchestrator.diagnostics.node import Findings, Node
    from orchestrator.diagnostics.problem import SweepError
    from orchestrator.diagnostics.task_needs import Requirements
    from orchestrator.sweep.spec import TaskChoice
    from orchestrator.task_facts.lookup import look_up

    findings, given = Findings(), dict(options)
    choice = TaskChoice(name=name, options=given)
    node = Node({"name": name, "options": given}, ("task",), findings)
    facts = look_up(node, choice, Path.cwd(), Requirements(), import_task=":" in name)
    if facts is None or findings.problems:
        raise SweepError(findings.in_file_order(), "the command line")
    return TaskConfig(name=name, options=given, data=facts.data[0], code=facts.code), facts.search_path


def read_option(text: str) -> tuple[str, Scalar]:
    """`channels=8` -> ("channels", 8). As in a sweep file, quotes turn a number into text. Raises InputError."""
    from orchestrator.sweepfile.yaml_file import plain_scalar

    key, equals, value = text.partition("=")
    if not (key and equals):
        raise InputError(f"--option {text!r} is not of the form KEY=VALUE")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return key, value[1:-1]
    try:
        read = plain_scalar(value)
    except ValueError as error:
        raise InputError(f"--option {text!r} {error}") from None
    return key, value if read is None else read


def _precisions() -> list[Precision]:
    """All precisions that this machine supports."""
    import torch

    return ["float32", "bfloat16", *(["float16"] if torch.cuda.is_available() else [])]  # type: ignore[list-item]


def _optimizer(name: OptimizerName) -> Optimizer:
    optimizer: Optimizer = union_members(Optimizer, "name")[name]()
    return optimizer


def _timing(throughput: bool, neighbours: bool, rounds: int, largest: int) -> Throughput | None:
    from orchestrator.analysis.throughput import neighbour_sizes

    if not (throughput or neighbours):
        return None
    doublings = {2**i for i in range(largest.bit_length())} if throughput else set()
    sizes = sorted({*doublings, *neighbour_sizes(largest)}) if neighbours else []
    return Throughput(micro_batch_sizes=tuple(sizes), rounds=rounds)


def _probe_all(
    task: str, configs: Sequence[ProbeConfig], search_path: Sequence[str], threads: int, *, as_json: bool
) -> int:
    from orchestrator.report.probe_table import print_probes, probes_as_json
    from orchestrator.report.tables import print_table
    from orchestrator.running.local_trial import LocalTrialError
    from trainables.results import Status

    probed: list[Probed] = []
    code = DONE
    try:
        probed.extend(run_probes(configs, search_path, threads))
    except LocalTrialError as error:
        print(f"paretune: the probe failed:\n{error}", file=sys.stderr)
        code = FAILED  # the results of earlier probes are still printed
    except KeyboardInterrupt:
        print("\nparetune: interrupted", file=sys.stderr)
        return INTERRUPTED
    if as_json:
        print(probes_as_json(task, probed))
    elif probed:
        print_table(lambda console: print_probes(task, probed, console))
    return code if any(result.status is Status.COMPLETED for _, result in probed) else FAILED


def run_probes(configs: Sequence[ProbeConfig], search_path: Sequence[str], threads: int) -> Iterator[Probed]:
    """Run one probe after another on this machine, with progress on standard error. Raises LocalTrialError."""
    from rich.console import Console

    from orchestrator.running.local_trial import run_locally
    from orchestrator.sweep.labels import probe_words
    from trainables.data.fingerprint import default_cache
    from trainables.results import TrialResult

    errors, cache = Console(stderr=True), default_cache()
    for number, config in enumerate(configs, start=1):
        what = f"{number} of {len(configs)}: {probe_words(config)}"
        with closing(run_locally(config, search_path, cache, threads)) as words:
            for word in words:
                if isinstance(word, TrialResult):
                    yield config, word
                else:
                    errors.print(f"{what}, {_progress_words(word.metrics)}", highlight=False)


def _progress_words(metrics: dict[str, float]) -> str:
    size = f"micro-batch {metrics.get('micro_batch_size', 0):,.0f}"
    peak = metrics.get("peak_memory_bytes")
    return f"{size} does not fit" if peak is None else f"{size} fits in {peak / 2**20:,.0f} MiB"
