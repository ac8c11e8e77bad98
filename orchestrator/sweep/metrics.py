"""The names of all metrics that a sweep can speak of, and which way each is better."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from orchestrator.sweep.spec import Mode
from trainables.config.trial import MeasureSettings

# Already a comparison with the parent, or without a meaning there: a goal on them can only be a threshold.
RELATIVE_PREFIXES = ("latency_ratio_batch_", "converted_fraction")
RELATIVE_SUFFIX = "_change"
TRAINING_PREFIXES = ("best_", "train_")
TRAINING_COUNTS = ("steps", "examples", "examples_per_second")


def sign_of(mode: Mode) -> float:
    """What to multiply a figure with, so that more is better: 1 where it is to be maximised, -1 where minimised."""
    return 1.0 if mode == "max" else -1.0


def objective_metrics(task_metrics: Mapping[str, Mode]) -> dict[str, Mode]:
    """What can be optimised: readings of validation data, because every choice is made there."""
    names: dict[str, Mode] = {}
    for prefix in ("val", "best_val"):
        names |= {f"{prefix}_{name}": mode for name, mode in task_metrics.items()}
    return names


def training_metrics(task_metrics: Mapping[str, Mode]) -> dict[str, Mode]:
    """What every baseline reports (see trainables.results)."""
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
    """What every variant reports, also one that needs no training: the figures of its exported file.

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
    """Whether only a trial that trains reports it: `uncompressed` and `int8` never do."""
    return metric.startswith(TRAINING_PREFIXES) or metric in TRAINING_COUNTS


def is_relative(metric: str) -> bool:
    """Whether a metric compares with the parent already."""
    return metric.startswith(RELATIVE_PREFIXES) or metric.endswith(RELATIVE_SUFFIX)


def mlflow_key(name: str) -> str:
    """The name of a metric or parameter as MLflow takes it: `_` for every character that MLflow refuses.

    `recall@10` becomes `recall_10`. It takes `/`, but only as in a tidy path. Two metrics of one task must not become
    the same; the sweep file is refused if they do.
    """
    key = re.sub(r"[^\w/.\- :]", "_", name)
    return key if posixpath.normpath(key) == key else key.replace("/", "_")
