"""Reads a sweep file, checks it and completes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.diagnostics.node import Findings, Node
from orchestrator.diagnostics.problem import SweepError
from orchestrator.sweep.axes import AXES
from orchestrator.sweep.metrics import objective_metrics
from orchestrator.sweep.spec import Goal, Objective, Parameters, ScaledLearningRate, Sweep
from orchestrator.sweepfile.partial_sweep import Axes, Draft, GoalDraft
from orchestrator.sweepfile.rules import check_rules
from orchestrator.sweepfile.sections import read_draft
from orchestrator.sweepfile.yaml_file import Document, read_yaml
from trainables.config.trial import MeasureSettings

T = TypeVar("T")

# Defaults of `batch_size: auto`, for keys that the file leaves out.
AUTO_EVALUATIONS = 40  # steps to the target are read off the curve
AUTO_MULTIPLIERS = (0.5, 1.0, 2.0)
AUTO_EXTEND = 2


def load_sweep(sweep: str | Path | Mapping[str, Any], *, import_task: bool = False) -> Sweep:
    """Read, check and complete a sweep. Raises SweepError with all problems.

    `sweep`: a file, whose relative paths start at its folder; or its content, whose relative paths start at the current
    folder.

    A user's own task is not imported: its source code is read instead. With `import_task`, the task (and with it torch)
    is imported and instantiated with every combination of its options, as `run` does before the first trial.
    """
    if isinstance(sweep, Mapping):
        document, source, folder = Document(plain_content(sweep), {}), "the sweep", Path.cwd()
    else:
        document, source, folder = read_yaml(Path(sweep)), str(sweep), Path(sweep).absolute().parent
    findings = Findings(document.lines)
    draft = read_draft(Node(document.content, (), findings), folder, import_task=import_task)
    check_rules(draft)
    findings.take(document.spots)
    if findings.problems:
        raise SweepError(findings.in_file_order(), source)
    return _complete(draft)


def plain_content(value: Any) -> Any:
    """Values from Python in the form that a file gives: numpy numbers as numbers, tuples as lists, paths as text."""
    match value:
        case Mapping():
            return {str(key): plain_content(item) for key, item in value.items()}
        case list() | tuple():
            return [plain_content(item) for item in value]
        case os.PathLike():
            return os.fspath(value)
        case bool():
            return value
        case Integral():
            return int(value)
        case Real():
            return float(value)
        case _:
            return value


def _complete(draft: Draft) -> Sweep:
    """The sweep of a draft without problems, so that no required section is missing."""
    axes, written, facts = draft.axes, _present(draft.objective), _present(draft.facts)
    metric = _present(written.metric)
    auto = axes.auto_batch_size
    return Sweep(
        name=_present(draft.name),
        task=_present(draft.task),
        facts=facts,
        objective=Objective(
            metric=metric,
            mode=written.mode or objective_metrics(facts.metrics)[metric],
            target=written.target,
        ),
        budget=_present(draft.budget).value,
        parameters=Parameters(
            batch_size=auto.value if auto else tuple(given.value for given in axes.batch_size),
            micro_batch_size=axes.micro_batch_size,
            learning_rate=_learning_rate(axes),
            seed=tuple(given.value for given in axes.seed),
            **{axis.name: tuple(given.value for given in axes.of(axis)) for axis in AXES},
        ),
        evaluations=AUTO_EVALUATIONS if auto and "evaluations" not in draft.root.value else draft.evaluations,
        noise_scale=draft.noise_scale,
        early_stopping=draft.early_stopping.value if draft.early_stopping else None,
        compression=draft.compression.value if draft.compression else None,
        measure=_measure(draft),
        goals=tuple(_goal(goal) for goal in draft.goals),
        resources=draft.resources,
    )


def _measure(draft: Draft) -> MeasureSettings:
    """Variants are compared on one device, and int8 runs on CPUs only: with any int8 variant, `auto` means CPU."""
    measure = draft.measure.value if draft.measure else MeasureSettings()
    if measure.device == "auto" and draft.has_int8:
        return measure.model_copy(update={"device": "cpu"})
    return measure


def _learning_rate(axes: Axes) -> ScaledLearningRate | tuple[float, ...]:
    """With `batch_size: auto`, learning rates are tuned at every size, even if the file gives no multipliers."""
    given = axes.scaled_learning_rate
    if given is None:
        return tuple(rate.value for rate in axes.learning_rate)
    defaults = {"multipliers": AUTO_MULTIPLIERS, "extend": AUTO_EXTEND} if axes.auto_batch_size else {}
    return given.value.model_copy(update={k: v for k, v in defaults.items() if k not in given.node.value})


def _goal(draft: GoalDraft) -> Goal:
    return Goal(metric=_present(draft.metric), type=_present(draft.type), value=_present(draft.value))


def _present(value: T | None) -> T:
    if value is None:
        raise AssertionError("a required section is absent, and no problem was noted")
    return value
