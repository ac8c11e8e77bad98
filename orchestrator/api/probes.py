"""`paretune probe`, as a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchestrator.commands.probe import MAX_MICRO_BATCH, PROBE_ROUNDS, probes_of, run_probes
from orchestrator.machine.environment import settle_in
from trainables.config.training import Precision
from trainables.config.trial import Scalar

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.report.probe_table import Probed


def probe(
    task: str,
    *,
    option: Mapping[str, Scalar] | None = None,
    precision: Precision | Sequence[Precision] = (),
    optimizer: str | Sequence[str] = (),
    workers: int | Sequence[int] = (),
    memory_limit: str | None = None,
    max_micro_batch: int = MAX_MICRO_BATCH,
    throughput: bool = False,
    neighbours: bool = False,
    rounds: int = PROBE_ROUNDS,
    threads: int = 1,
) -> Probes:
    """Find the largest micro-batch that fits this machine's memory, and how long its steps take.

    It runs real optimiser steps in fresh processes and keeps no model. `task`: a built-in one, or package.module:Class.
    `option`: its options. `precision`, `optimizer`, `workers`: one or several; by default all precisions that the
    device supports, sgd and adamw, one worker. `memory_limit`: memory of one worker, such as "2GiB". `threads`: CPU
    threads of each worker. Raises SweepError for an unknown task, InputError, LocalTrialError if the workers fail.
    """
    settle_in()
    configs, search_path = probes_of(
        task,
        option or {},
        precision=[precision] if isinstance(precision, str) else precision,
        optimizer=[optimizer] if isinstance(optimizer, str) else optimizer,
        workers=[workers] if isinstance(workers, int) else workers,
        memory_limit=memory_limit,
        max_micro_batch=max_micro_batch,
        throughput=throughput,
        neighbours=neighbours,
        rounds=rounds,
    )
    return Probes(task, list(run_probes(configs, search_path, threads)))


class Probes:
    """The results of probes. Their text form is the output of `paretune probe`."""

    def __init__(self, task: str, probed: Sequence[Probed]) -> None:
        self._task, self._probed = task, tuple(probed)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per probe: its settings, its status, and every figure `x` with `x_low` and `x_high`."""
        import pandas as pd

        from orchestrator.report.export import flat

        records = [
            {
                "trial": result.id,
                "precision": config.precision,
                "optimizer": config.optimizer.name,
                "num_workers": config.num_workers,
                "status": result.status.value,
                "reason": result.reason,
                **flat(result.metrics),
            }
            for config, result in self._probed
        ]
        return pd.DataFrame(records).set_index("trial")

    def to_dict(self) -> dict[str, Any]:
        """The content of `paretune probe --format json`, as a dict."""
        from orchestrator.report.probe_table import probes_as_dict

        return probes_as_dict(self._task, self._probed)

    def __str__(self) -> str:
        from orchestrator.report.probe_table import print_probes
        from orchestrator.report.tables import plain_text

        return plain_text(lambda console: print_probes(self._task, self._probed, console))
