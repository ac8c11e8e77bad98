"""Reads the sections of a sweep file, each separately, so that a mistake in one does not hide those in another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from orchestrator.diagnostics.node import Node, Placed, is_axis, read_axis, refuse_duplicates
from orchestrator.diagnostics.schema_text import (
    MAX_BATCH_SIZE,
    MAX_BUDGET,
    MAX_EVALUATIONS,
    MAX_FIGURE,
    MAX_LEARNING_RATE,
    MAX_SEED,
)
from orchestrator.sweep.axes import AXES, Axis, AxisKind, NamedSection, NameList, NumberRange, WordChoice
from orchestrator.sweep.spec import (
    AutoBatchSize,
    EarlyStopping,
    Goal,
    GoalType,
    Mode,
    Objective,
    Resources,
    ScaledLearningRate,
    TaskChoice,
)
from orchestrator.sweepfile.compression_section import read_compression
from orchestrator.sweepfile.partial_sweep import Axes, Draft, GoalDraft, ObjectiveDraft
from orchestrator.task_facts.lookup import look_up
from trainables.config.training import Budget, NoiseScale
from trainables.config.trial import MeasureSettings, Scalar

B = TypeVar("B", bound=BaseModel)

SECTIONS = (
    "name",
    "task",
    "objective",
    "budget",
    "parameters",
    "evaluations",
    "noise_scale",
    "early_stopping",
    "compression",
    "measure",
    "goals",
    "resources",
)
PARAMETERS = ("batch_size", "micro_batch_size", "learning_rate", *(axis.name for axis in AXES), "seed")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it becomes the name of a folder and of an experiment


def read_draft(root: Node, folder: Path, *, import_task: bool) -> Draft:
    """Read all sections of a file. Problems are noted in the root's findings; invalid values are left out."""
    draft = Draft(root)
    given = root.mapping(SECTIONS, required=("name", "task", "objective", "budget", "parameters"))
    for key, node in (given or {}).items():
        match key:
            case "name":
                draft.name = _read_name(node)
            case "task":
                draft.task = _read_task(node)
            case "objective":
                draft.objective = _read_objective(node)
            case "budget":
                budget = _read_budget(node)
                draft.budget = Placed(budget, node) if budget else None
            case "parameters":
                draft.axes = _read_parameters(node)
            case "evaluations":
                draft.evaluations = node.integer(1, MAX_EVALUATIONS) or draft.evaluations
            case "noise_scale":
                draft.noise_scale = None if node.value is False else node.model(NoiseScale)
            case "early_stopping":
                draft.early_stopping = _given(node, EarlyStopping)
            case "compression":
                compression = read_compression(node)
                draft.compression = Placed(compression, node) if compression else None
            case "measure":
                draft.measure = _given(node, MeasureSettings)
            case "goals":
                draft.goals = [goal for item in node.items() or [] if (goal := _read_goal(item))]
            case "resources":
                draft.resources = node.model(Resources) or draft.resources
    if given and draft.task:  # last: the task's requirements depend on the other sections
        draft.facts = look_up(given["task"], draft.task, folder, draft.requirements, import_task=import_task)
    return draft


def _given(node: Node, cls: type[B]) -> Placed[B] | None:
    value = node.model(cls)
    return None if value is None else Placed(value, node)


def _read_name(node: Node) -> str | None:
    if isinstance(node.value, str) and _NAME.fullmatch(node.value):
        return node.value
    what = "must be text" if not isinstance(node.value, str) else "cannot be the name of a folder"
    node.fail(what, allowed="up to 64 letters, digits, '.', '_' and '-', beginning with a letter or a digit")
    return None


def _read_task(node: Node) -> TaskChoice | None:
    if isinstance(node.value, str):
        return TaskChoice(name=node.value) if node.text() else None
    keys = node.mapping(["name", "options"], required=["name"])
    name = keys["name"].text() if keys and "name" in keys else None
    axes = _read_options(keys["options"]) if keys and "options" in keys else {}
    swept = {key: values for key, values in axes.items() if len(values) > 1}
    options = {key: values[0] for key, values in axes.items()}
    return None if name is None else TaskChoice(name=name, options=options, swept=swept)


def _read_options(node: Node) -> dict[str, tuple[Scalar, ...]]:
    """The valid values of every task option that has any."""
    if node.value is None:
        return {}
    if not isinstance(node.value, dict):
        node.fail("must be a mapping of the task's options to their values")
        return {}
    axes: dict[str, list[Placed[Scalar]]] = {key: read_axis(node.child(key), _read_option) for key in node.value}
    return {key: tuple(given.value for given in values) for key, values in axes.items() if values}


def _read_option(node: Node) -> Scalar | None:
    value: Scalar | None = node.value
    if isinstance(value, bool | int | float | str):
        return value
    node.fail("must be one value", allowed="a number, text, true or false; several are written {values: [...]}")
    return None


def _read_objective(node: Node) -> ObjectiveDraft | None:
    keys = node.mapping(Objective.model_fields, required=["metric"])
    if keys is None:
        return None
    draft = ObjectiveDraft(node)
    draft.metric = keys["metric"].text() if "metric" in keys else None
    draft.mode = keys["mode"].choice(get_args(Mode)) if "mode" in keys else None
    draft.target = keys["target"].number(-MAX_FIGURE, MAX_FIGURE) if "target" in keys else None
    return draft


def _read_goal(node: Node) -> GoalDraft | None:
    keys = node.mapping(Goal.model_fields, required=Goal.model_fields)
    if keys is None:
        return None
    draft = GoalDraft(node)
    draft.metric = keys["metric"].text() if "metric" in keys else None
    draft.type = keys["type"].choice(get_args(GoalType)) if "type" in keys else None
    draft.value = keys["value"].number(-MAX_FIGURE, MAX_FIGURE) if "value" in keys else None
    return draft


def _read_budget(node: Node) -> Budget | None:
    keys = node.mapping(MAX_BUDGET)
    if keys is None:
        return None
    if len(node.value) != 1:
        what = f"has {len(node.value)} keys and must have one" if node.value else "is empty"
        node.fail(what, allowed="one of {examples: 40000}, {steps: 1000}, {epochs: 10}, {seconds: 60}")
        return None
    for unit, amount in keys.items():
        high = MAX_BUDGET[unit]
        number = amount.integer(1, int(high)) if unit in ("examples", "steps") else amount.number(0, high)
        return Budget.model_validate({"unit": unit, "amount": number}) if number else None
    return None


def _read_parameters(node: Node) -> Axes:
    axes = Axes()
    keys = node.mapping(PARAMETERS, required=("batch_size", "learning_rate")) or {}
    if "batch_size" in keys:
        _read_batch_size(keys["batch_size"], axes)
    if "micro_batch_size" in keys:
        axes.micro_batch_size = keys["micro_batch_size"].integer(1, MAX_BATCH_SIZE)
    if "learning_rate" in keys:
        _read_learning_rate(keys["learning_rate"], axes)
    for axis in AXES:
        values = _read_values(keys[axis.name], axis) if axis.name in keys else [Placed(axis.default, node)]
        setattr(axes, axis.name, values)
    if "seed" in keys:
        axes.seed = read_axis(keys["seed"], lambda item: item.integer(0, MAX_SEED))
    else:
        axes.seed = [Placed(0, node)]
    return axes


def _read_values(node: Node, axis: Axis) -> list[Placed[Any]]:
    """The valid values of an axis; `null` is valid for an axis that can be off."""

    def read(item: Node) -> tuple[Any] | None:  # a 1-tuple, since a plain None means an invalid value
        if axis.may_be_off and item.value is None:
            return (None,)
        value = _read_value(item, axis.kind)
        return None if value is None else (value,)

    if isinstance(axis.kind, NameList) and isinstance(node.value, list):
        return [Placed(value[0], node)] if (value := read(node)) else []
    return [Placed(entry.value[0], entry.node) for entry in read_axis(node, read)]


def _read_value(node: Node, kind: AxisKind) -> Any:
    """One value that is not null; None if it is invalid."""
    match kind:
        case NumberRange(is_whole=True):
            return node.integer(int(kind.low), int(kind.high))
        case NumberRange():
            return node.number(kind.low, kind.high, with_low=not kind.without_low, with_high=not kind.without_high)
        case WordChoice(names):
            return node.choice(names)
        case NamedSection(members):
            return _read_section(node, members)
        case NameList():
            return _read_names(node)


def _read_names(node: Node) -> tuple[str, ...] | None:
    """One word, or several in a list, which may be empty: `bias`, `[bias, norm]`."""
    if not isinstance(node.value, list):
        name = node.text()
        return None if name is None else (name,)
    names = [Placed(name, item) for index in range(len(node.value)) if (name := (item := node.child(index)).text())]
    refuse_duplicates(names)
    return tuple(name.value for name in names) if len(names) == len(node.value) else None


def _read_batch_size(node: Node, axes: Axes) -> None:
    """Batch sizes; or `auto`, which searches for one; or {auto: {smallest: 16, ...}}."""
    if node.value == "auto":
        axes.auto_batch_size = Placed(AutoBatchSize(), node)
    elif isinstance(node.value, dict) and "auto" in node.value:
        keys = node.mapping(["auto"])
        axes.auto_batch_size = _given(keys["auto"], AutoBatchSize) if keys else None
    else:
        axes.batch_size = read_axis(node, lambda item: item.integer(1, MAX_BATCH_SIZE))


def _read_learning_rate(node: Node, axes: Axes) -> None:
    if not isinstance(node.value, dict) or is_axis(node.value, ScaledLearningRate.model_fields):
        axes.learning_rate = read_axis(node, lambda item: item.number(0, MAX_LEARNING_RATE))
        return
    scaled = node.model(ScaledLearningRate)
    if scaled is None:
        return
    if (scaled.rule != "none" or scaled.carry) and scaled.at_batch_size is None:
        needs = f"the {scaled.rule} rule" if scaled.rule != "none" else "carry"
        message = f"is missing: {needs} needs the batch size that base belongs to"
        node.fail(message, allowed=f"whole numbers from 1 to {MAX_BATCH_SIZE}", at=("at_batch_size",))
        return
    if "multipliers" in node.value:
        items = node.child("multipliers").items() or []
        refuse_duplicates(Placed(value, item) for value, item in zip(scaled.multipliers, items, strict=True))
    if "carry" in node.value:
        items = node.child("carry").items() or []
        refuse_duplicates(Placed(name, item) for name, item in zip(scaled.carry, items, strict=True))
    axes.scaled_learning_rate = Placed(scaled, node)


def _read_section(node: Node, members: Mapping[str, type[BaseModel]]) -> BaseModel | None:
    """An optimiser or schedule: its name, or a mapping with `name` and its settings."""
    if isinstance(node.value, str):
        name = node.choice(members)
        return members[name]() if name else None
    if not isinstance(node.value, dict) or "name" not in node.value:
        node.fail("must be a name, or a mapping with the key name", allowed=", ".join(members))
        return None
    name = node.child("name").choice(members)
    return node.model(members[name]) if name else None
