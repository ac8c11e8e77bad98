"""What a trial says: its status, its readings, its figures with their intervals. Imports no torch.

Names of metrics (the keys of `TrialResult.metrics` and `Report.metrics`):
    val_<m>, train_<m>            at the end of training, for <m> = loss and every metric of the task
    best_val_<m>, best_train_<m>  the best reading over the history (a reading is biased upwards by the choice)
    step_loss_mean                of a reading: what the training steps since the one before minimised, mean over items
    examples_per_second, train_seconds, steps, examples
    gradient_norm_mean, gradient_norm_max         before clipping; of every 8th step where nothing is clipped
    noise_scale                   gradient noise scale in examples (`trainables.noise_scale`), of a baseline; NaN with a
                                  note that begins with "unresolved" where the run did not determine it
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

import math
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from trainables.config import TrialConfig

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


class Status(StrEnum):
    """How a trial ended. All are data, not errors: a sweep with an out-of-memory trial in it is a good sweep."""

    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    GOAL_MISSED = "goal_missed"
    PARENT_FAILED = "parent_failed"
    FAILED = "failed"


class Frozen(BaseModel):
    """Like the configurations', but a result may hold an infinity or a NaN that was really seen."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Estimate(Frozen):
    """A number with its 95 % interval, or the reason why it has none."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None  # independent observations behind it
    note: str | None = None  # why there is no interval, or what the interval leaves out

    @field_validator("value")
    @classmethod
    def _one_nan(cls, value: float) -> float:
        """A NaN equals itself only as an object: with one for all, results that say the same are equal."""
        return math.nan if math.isnan(value) else value

    @classmethod
    def exact(cls, value: float, note: str = "counted, not estimated") -> Estimate:
        return cls(value=value, note=note)

    @classmethod
    def of_mean(cls, total: float, total_of_squares: float, n: int) -> Estimate:
        """Mean of `n` independent observations, from their sum and sum of squares; normal interval."""
        mean = total / n
        if n < 2:
            return cls(value=mean, n=n, note="one observation")
        variance = max(0.0, (total_of_squares - n * mean * mean) / (n - 1))
        half = Z_95 * math.sqrt(variance / n)
        return cls(value=mean, low=mean - half, high=mean + half, n=n)

    @classmethod
    def of_values(cls, total: float, total_of_squares: float, n: int) -> Estimate:
        """The same of values of a metric, which may be a share: not of differences.

        Values that all are 0 or 1, as those of an accuracy, have a whole sum that is their sum of squares. Zeros alone
        are taken for an error rate's: that no row is wrong among a few does not mean that none ever is.
        """
        is_share = total == total_of_squares and float(total).is_integer() and n > 1
        return cls.of_share(round(total), n) if is_share else cls.of_mean(total, total_of_squares, n)

    @classmethod
    def of_share(cls, ones: int, n: int) -> Estimate:
        """The share of ones among `n` independent observations of 0 or 1; Wilson's score interval.

        The normal interval has no width when all are right, and says of 20 rows what it says of 20,000.
        Source: Wilson 1927, J. Am. Stat. Assoc. 22(158); recommended by Brown, Cai and DasGupta 2001, Stat. Sci. 16(2).
        """
        share, z2 = ones / n, Z_95**2
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
        return cls(value=share, low=max(0.0, min(share, middle - half)), high=min(1.0, max(share, middle + half)), n=n)

    @classmethod
    def of_paired_shares(cls, gained: int, lost: int, n: int) -> Estimate:
        """How much one share is above another, of the same `n` independent observations.

        `gained`: those that are 1 in the one and 0 in the other; `lost`: the other way round. The normal interval with
        one observation added to either, because none that differ among a few rows does not mean none at all.
        Source: Bonett and Price 2012, J. Educ. Behav. Stat. 37(4).
        """
        up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
        half = Z_95 * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
        value, low, high = (gained - lost) / n, max(-1.0, up - down - half), min(1.0, up - down + half)
        return cls(value=value, low=min(value, low), high=max(value, high), n=n)


class Report(Frozen):
    """One reading during a trial. `seconds` is time spent training, without evaluations, over all resumptions."""

    step: int
    examples: int
    seconds: float
    metrics: dict[str, float]


class TrialResult(Frozen):
    """All that comes of one trial. Written once, atomically, by the driver."""

    id: str
    config: TrialConfig
    status: Status
    reason: str | None = None  # one sentence for a person; the traceback goes to `details`
    details: str | None = None
    history: tuple[Report, ...] = ()
    metrics: dict[str, Estimate] = {}
    environment: dict[str, str] = {}  # device, threads, versions, machine, times: what the figures hold for
    files: dict[str, str] = {}  # what the trial left in its directory: {"model": "model.pt2", ...}
    warnings: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["baseline", "variant", "probe"]:
        return self.config.kind

    @property
    def parent(self) -> str | None:
        return self.config.parent if self.config.kind == "variant" else None
