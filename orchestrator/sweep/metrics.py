"""The names of all metrics of a sweep, and whether higher or lower is better."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from orchestrator.sweep.spec import Mode
from trainables.config.trial import MeasureSettings

# Metrics that already compare with the parent, or that a parent lacks: goals on them can only be thresholds.
RELATIVE_PREFIXES = ("latency_ratio_batch_", "converted_fraction")
RELATIVE_SUFFIX = "_change"
TRAINING_PREFIXES = ("best_", "train_")
TRAINING_COUNTS = ("steps", "examples", "examples_per_second")


def sign_of(mode: Mode) -> float:
    """The factor that makes larger better: 1 if a figure is maximised, -1 if it is minimised."""
    return 1.0 if mode == "max" else -1.0


def objective_metrics(task_metrics: Mapping[str, Mode]) -> dict[str, Mode]:
    """The metrics that can be optimised: those on validation data, because every choice is made there."""
    names: dict[str, Mode] = {}
    for prefix in ("val", "best_val"):
        names |= {f"{prefix}_{name}": mode for name, mode in task_metrics.items()}
    return names


def training_metrics(task_metrics: Mapping[str, Mode]) -> dict[str, Mode]:
    """The metrics that every baseline reports (see trainables.results)."""
    return objective_metrics(task_metrics) | {
        **{f"{kind}_{name}": mode for kind in ("train", "best_train") for name, mode in task_metrics.items()},
        "examples_per_second": "max",
        "train_seconds": "min",
        "steps": "min",
        "examples": "min",
        "parameters": "min",
        "artifact_bytes": "min",
    }


def variant_metrics(task_metrics: Mapping[str, Mode], measure: MeasureSettings) -> dict[str, Mode]:
    """The metrics that every variant reports, even without training: those of its exported file.

    Latencies exist at the batch sizes that are measured.
    """
    names: dict[str, Mode] = {f"val_{name}": mode for name, mode in task_metrics.items()}
    names |= {f"val_{name}_change": mode for name, mode in task_metrics.items()}
    names |= {"parameters": "min", "artifact_bytes": "min", "converted_fraction": "max"}
    for batch in measure.batch_sizes:
        names |= {
            f"latency_p50_ms_batch_{batch}": "min",
            f"latency_p95_ms_batch_{batch}": "min",
            f"latency_ratio_batch_{batch}": "min",
        }
    return names


def known_metrics(task_metrics: Mapping[str, Mode], measure: MeasureSettings) -> dict[str, Mode]:
    """Every metric that a goal can name."""
    return training_metrics(task_metrics) | variant_metrics(task_metrics, measure)


def is_of_training(metric: str) -> bool:
    """Whether only trials that train report it; `uncompressed` and `int8` do not train."""
    return metric.startswith(TRAINING_PREFIXES) or metric in TRAINING_COUNTS


def is_relative(metric: str) -> bool:
    """Whether a metric already compares with the parent."""
    return metric.startswith(RELATIVE_PREFIXES) or metric.endswith(RELATIVE_SUFFIX)


def mlflow_key(name: str) -> str:
    """The name of a metric or parameter for MLflow: `_` replaces every character that MLflow refuses.

    `recall@10` becomes `recall_10`. `/` is allowed, but only as in a normalised path. Two metrics of one task must not
    get the same name; otherwise the sweep file is refused.
    """
    key = re.sub(r"[^\w/.\- :]", "_", name)
    return key if posixpath.normpath(key) == key else key.replace("/", "_")
