"""Starts `trainables.measure.measure` in a fresh process, and returns its figures or raises with the reason.

A fresh process has no other models in memory, the requested number of threads from its start, and a compiler without
history. All such processes on a node share the compiler's disk cache, so a parent is compiled only once, for its first
variant.
"""

from __future__ import annotations

import os
from pathlib import Path

from trainables.config.trial import MeasureSettings, TaskConfig
from trainables.estimate import Estimate
from trainables.measure.measure import Measurement, MeasureRequest
from trainables.process.fresh_process import CHILD_TIMEOUT_SECONDS, in_fresh_process
from trainables.process.fresh_process import ChildError as MeasureError

__all__ = ["MeasureError", "evaluate_artifact", "measure_in_fresh_process"]


def measure_in_fresh_process(request: MeasureRequest, timeout_seconds: float = CHILD_TIMEOUT_SECONDS) -> Measurement:
    """Measure in a new process, which ends when this one does. Raises MeasureError."""
    cache, text = Path(request.cache), request.model_dump_json()
    response = in_fresh_process("trainables.measure.measure", text, cache, _environment(request), timeout_seconds)
    return Measurement.model_validate_json(response)


def evaluate_artifact(
    model: Path,
    task: TaskConfig,
    cache: Path,
    *,
    parent: Path | None = None,
    measure: MeasureSettings | None = None,
) -> dict[str, Estimate]:
    """`test_<m>` of an exported model on the test data, and with a parent `test_<m>_change`. Raises MeasureError.

    To be called once, for the recommended model: test data that was used for a choice no longer gives an unbiased
    figure.
    """
    request = MeasureRequest(
        task=task,
        model=str(model),
        parent=None if parent is None else str(parent),
        measure=measure or MeasureSettings(),
        split="test",
        latency=False,
        cache=str(cache),
    )
    found = measure_in_fresh_process(request).metrics
    return {name: estimate for name, estimate in found.items() if name.startswith("test_")}


def _environment(request: MeasureRequest) -> dict[str, str]:
    threads = str(request.measure.threads)
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TORCHINDUCTOR_CACHE_DIR": str(Path(request.cache) / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": str(min(8, len(os.sched_getaffinity(0)))),  # before anything is timed
    }
