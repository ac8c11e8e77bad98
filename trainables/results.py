"""The result of a trial: its status, its evaluations, its figures with their intervals. Imports no torch.

Names of metrics (the keys of `TrialResult.metrics` and `Report.metrics`):
    val_<m>, train_<m>            at the end of training, for <m> = loss and every metric of the task
    best_val_<m>, best_train_<m>  the best evaluation of the history (biased towards good by the choice)
    step_loss_mean                per evaluation: mean training loss over the items of all steps since the last one
    examples_per_second, train_seconds, steps, examples
    gradient_norm_mean, gradient_norm_max         before clipping; of every 8th step where nothing is clipped
    noise_scale                   gradient noise scale in examples (trainables.training.noise_scale), of a baseline;
                                  NaN with a note that begins with "unresolved" where the run did not determine it
    micro_batch_size, accumulation_steps      how the batch was divided; not as planned where memory ran out
    parameters, artifact_bytes    of the exported model, as a file on disk
    converted_fraction            of a variant: the share of its bytes that are 8-bit integers; 0 without int8
    latency_p50_ms_batch_<b>, latency_p95_ms_batch_<b>        of the exported model, compiled, in a fresh process
    latency_ratio_batch_<b>       its p50 over the p50 of its parent compiled, measured in alternation; lower is faster
    control_latency_ratio_batch_<b>  the parent against itself, timed in the same rounds: 1 on a quiet machine
    val_<m>_change                variant minus parent on the same validation rows, paired row by row
    compile_seconds, process_peak_rss_bytes, and on CUDA device_peak_memory_bytes    of the measuring process
    reference_<any of the above>  the parent's own figure, from the same measuring process
    reference_eager_latency_*, reference_bfloat16_latency_*   the parent not compiled; compiled in bfloat16 where the
                                  device computes in it
    test_<m>, test_<m>_change     on the test data, for the recommendation alone
of a probe:
    largest_micro_batch_size      seen to fit, the same on every worker; 0: not even the smallest fits
    memory_capacity_bytes         of one worker: what may be used at the peak of a step
    memory_fixed_bytes, memory_bytes_per_example    the line through the peaks: what does not grow, and its slope
    probes, probe_out_of_memory_errors              steps tried in fresh processes, and those for which memory ran out
    step_seconds_micro_batch_<b>, examples_per_second_micro_batch_<b>    of all workers together, accumulation 1
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from trainables.config.base import FrozenResult
from trainables.config.trial import TrialConfig
from trainables.estimate import Estimate


class Status(StrEnum):
    """How a trial ended. All endings are data, not errors: a sweep may contain trials that ran out of memory."""

    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    GOAL_MISSED = "goal_missed"
    PARENT_FAILED = "parent_failed"
    FAILED = "failed"


class Report(FrozenResult):
    """One evaluation during a trial. `seconds` is training time without evaluations, over all resumptions."""

    step: int
    examples: int
    seconds: float
    metrics: dict[str, float]


class TrialResult(FrozenResult):
    """The whole result of one trial. Written once, atomically, by the driver."""

    id: str
    config: TrialConfig
    status: Status
    reason: str | None = None  # one sentence; the traceback is in `details`
    details: str | None = None
    history: tuple[Report, ...] = ()
    metrics: dict[str, Estimate] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)  # device, versions and times of the figures
    files: dict[str, str] = Field(default_factory=dict)  # files in the trial's folder: {"model": "model.pt2"}
    warnings: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["baseline", "variant", "probe"]:
        return self.config.kind

    @property
    def parent(self) -> str | None:
        return self.config.parent if self.config.kind == "variant" else None
