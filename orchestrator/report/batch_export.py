"""The findings about the batch size as data: steps to the target, critical batch size, verdict, equal budgets."""

from __future__ import annotations

import math
from typing import Any

from orchestrator.analysis.batch_verdict import BatchVerdict, Slower
from orchestrator.analysis.common_readings import metrics_read, readings
from orchestrator.analysis.comparison import SweepComparison
from orchestrator.analysis.critical_batch import CriticalBatch
from orchestrator.analysis.predict_batch import Prediction
from orchestrator.analysis.rows import Row
from orchestrator.analysis.statistics import Difference, Summary
from orchestrator.analysis.table import SweepTable
from orchestrator.analysis.time_to_target import ToTarget
from orchestrator.sweep.labels import settings_words
from orchestrator.wording.batch_size import (
    batch_size_headline,
    behind_words,
    choice_words,
    finding_words,
    slower_words,
    verdict_sentences,
)
from orchestrator.wording.not_determined import basis_of_prediction, why_no_curve, why_no_verdict


def batch_dict(comparison: SweepComparison) -> dict[str, Any]:
    """`{"steps_to_target": [...], "critical_batch": [...], "batch_size": {...} or None, "behind": [...]}`."""
    table, tuning = comparison.table, comparison.evidence.tuning.table
    return {
        "steps_to_target": [_target_row(tuning, row) for row in comparison.targets],
        "critical_batch": [
            {"settings": choice_words(tuning, choice), **_curve(curve)} for choice, curve in comparison.curves.items()
        ],
        "batch_size": None if comparison.batch is None else _verdict(comparison, comparison.batch),
        "behind": [
            {
                "batch_size": found.batch_size,
                "best": found.best,
                "settings": settings_words(found.configuration.config, table.settings) or None,
                "best_settings": settings_words(found.against.config, table.settings) or None,
                "finding": found.finding.value,
                "reason": finding_words(found),
                "examples": found.examples,
                "validation": _difference(found.validation),
                "training": _difference(found.training),
                "gap": _difference(found.gap),
                "steps": found.steps,
                "validation_at_equal_steps": _difference(found.at_equal_steps),
                "sentence": behind_words(table, found),
            }
            for found in comparison.behind
        ],
    }


def equal_readings(comparison: SweepComparison) -> dict[str, dict[str, Any]]:
    """Trial id -> `{"equal_examples": [{"examples", metrics...}], "equal_steps": [...]}`, for every baseline."""
    places, metrics = comparison.evidence.checkpoints, metrics_read(comparison.table)

    def of(row: Row) -> dict[str, Any]:
        return {
            "equal_examples": readings(row, "examples", places.examples, metrics),
            "equal_steps": readings(row, "steps", places.steps, metrics),
        }

    return {row.id: of(row) for row in comparison.table.rows if row.kind == "baseline"}


def _target_row(table: SweepTable, row: ToTarget) -> dict[str, Any]:
    return {
        "batch_size": row.batch_size,
        "num_workers": row.num_workers,
        "settings": settings_words(row.configuration.config, table.settings) or None,
        "learning_rate": row.configuration.training.learning_rate,
        "configuration": row.configuration.key,
        "seeds": row.seeds,
        "seeds_reached": len(row.crossings),
        "steps": _summary(row.steps),
        "examples": _summary(row.examples),
        "seconds": _summary(row.seconds),
        "worker_seconds": _summary(row.worker_seconds),
        "rates_tried": list(row.rates),
        "edge": row.edge,
        "is_upper_bound": row.is_bound,
    }


def _curve(curve: CriticalBatch) -> dict[str, Any]:
    return {
        "batch_size": curve.batch_size,
        "low": curve.batch_size_low,
        "high": curve.batch_size_high,
        "min_steps": curve.min_steps,
        "min_examples": curve.min_examples,
        "sharpness": curve.sharpness,
        "rms_log": _finite(curve.rms_log),
        "not_determined": why_no_curve(curve.undetermined),
    }


def _verdict(comparison: SweepComparison, verdict: BatchVerdict) -> dict[str, Any]:
    estimate = verdict.noise_scale
    return {
        "headline": batch_size_headline(comparison.table, verdict),
        "sentences": verdict_sentences(comparison.table, verdict),
        "fastest": _contender(verdict.fastest),
        "cheapest": _contender(verdict.cheapest),
        "smallest_not_worse": _contender(verdict.smallest),
        "no_detectable_difference": verdict.no_difference if verdict.fastest else None,
        "not_determined": why_no_verdict(comparison.table, verdict.undetermined),
        "contenders": [_contender(contender) for contender in verdict.contenders],
        "against_the_fastest": [_slower(other) for other in verdict.others],
        "predicted": _prediction(verdict.fit.prediction),
        "predicted_from_noise_scale": _prediction(verdict.prior),
        "noise_scale": None
        if estimate is None
        else {"value": _finite(estimate.value), "low": estimate.low, "high": estimate.high, "note": estimate.note},
    }


def _contender(contender: ToTarget | None) -> dict[str, Any] | None:
    if contender is None:
        return None
    training = contender.configuration.training
    reached = bool(contender.crossings)
    return {
        "batch_size": training.batch_size,
        "micro_batch_size": training.micro_batch_size,
        "accumulation_steps": training.accumulation_steps,
        "num_workers": training.num_workers,
        "learning_rate": training.learning_rate,
        "precision": training.precision,
        "trials": [row.id for row in contender.configuration.rows],
        "seeds_reached": len(contender.crossings),
        "is_upper_bound": contender.is_bound,
        "seconds": _summary(contender.seconds) if reached else None,
        "steps": _summary(contender.steps) if reached else None,
        "examples": _summary(contender.examples) if reached else None,
    }


def _slower(other: Slower) -> dict[str, Any]:
    low, high = other.interval or (None, None)
    return {
        "batch_size": other.contender.batch_size,
        "num_workers": other.contender.num_workers,
        "ratio": _finite(other.ratio),
        "low": low,
        "high": high,
        "p_value": other.difference.p_value if other.difference else None,
        "verdict": other.verdict.value,
        "sentence": slower_words(other),
    }


def _prediction(prediction: Prediction | None) -> dict[str, Any] | None:
    if prediction is None:
        return None
    return {
        "batch_size": prediction.batch_size,
        "low": prediction.low,
        "high": prediction.high,
        "seconds": prediction.seconds,
        "basis": basis_of_prediction(prediction.basis),
    }


def _summary(summary: Summary) -> dict[str, float | int | None]:
    return {"mean": _finite(summary.mean), "low": summary.low, "high": summary.high, "seeds": summary.n}


def _difference(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    return {
        "mean": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "p_value": difference.p_value,
        "verdict": difference.verdict.value,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
