"""Sentences about the configuration classes: their allowed values, their errors, and further upper bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.diagnostics.problem import Path
from orchestrator.text import listing

# Far above any sensible value: a larger one is a typing error, and is refused before it costs machine time.
MAX_BATCH_SIZE = 1 << 20
MAX_SEED = 2**32 - 1  # what NumPy takes
MAX_LEARNING_RATE = 1e4
MAX_EVALUATIONS = 10_000
MAX_FIGURE = 1e18  # largest value of a metric
MAX_AXIS_VALUES = 1000
MAX_TRIALS = 100_000
MAX_CHAIN = 8
MAX_BUDGET = {"examples": 1e15, "steps": 1e12, "epochs": 1e6, "seconds": 1e7}
_MAX_BY_FIELD: dict[str, float] = {
    "weight_decay": 1e3,
    "epsilon": 1.0,
    "calibration_examples": 1e7,
    "round_to": 1024,
    "temperature": 1e3,
    "threads": 1024,
    "batch_sizes": MAX_BATCH_SIZE,
    "rounds": 1e5,
    "cpus_per_worker": 1024,
    "base": MAX_LEARNING_RATE,
    "at_batch_size": MAX_BATCH_SIZE,
    "multipliers": 1e6,
    "extend": 16,
    "smallest": MAX_BATCH_SIZE,
    "largest": MAX_BATCH_SIZE,
    "fit_sizes": 16,
    "confirm_seeds": 1000,
    "top": MAX_TRIALS,
    "examples": MAX_BUDGET["examples"],
    "every_steps": 1e6,
    "warmup_steps": MAX_BUDGET["steps"],
    "warmup_examples": MAX_BUDGET["examples"],
    "power": 100,
    "divided_every_steps": 1e6,
}

UNKNOWN_KEY = "unknown key"

Explained = tuple[Path, str, str, list[str]]  # path below the model, message, what is allowed, names for a suggestion

_KINDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is out of range",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "finite_number": "must be a finite number",
}


def explain(error: ValidationError, cls: type[BaseModel]) -> Iterator[Explained]:
    """Each validation error as (path, message, allowed, names). For a union, the errors of the best matching member."""
    details = error.errors(include_url=False, include_context=True)
    lists_with_errors = {
        detail["loc"][:-1] for detail in details if detail["loc"] and isinstance(detail["loc"][-1], int)
    }
    for detail in details:
        if detail["type"] == "too_short" and detail["loc"] in lists_with_errors:
            continue  # "too short" only because invalid items were dropped
        path: Path = tuple(part for part in detail["loc"] if not (isinstance(part, str) and "[" in part))
        context = detail.get("ctx", {})
        match detail["type"]:
            case "missing":
                yield path, "is missing", _choices_at(cls, path) or _range_at(cls, path), []
            case "extra_forbidden":
                names = [name for name in _model_at(cls, path[:-1]).model_fields if name != "method"]
                yield path, UNKNOWN_KEY, listing(names), names
            case "literal_error":
                names = [name.strip("' ") for name in str(context["expected"]).replace(" or ", ", ").split(",")]
                yield path, "is not one of the choices", listing(names), names
            case "too_long":
                yield path, "is too long", f"at most {context['max_length']} items", []
            case "too_short":
                yield path, "is too short", f"at least {context['min_length']} items", []
            case kind if kind in _KINDS:
                yield path, _KINDS[kind], _range_at(cls, path), []
            case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
                yield path, "is out of range", _range_at(cls, path), []
            case _:
                yield path, detail["msg"].removeprefix("Value error, ").lower(), "", []


def upper_bound_problems(model: BaseModel, given: dict[str, Any], at: Path = ()) -> Iterator[tuple[Path, str, str]]:
    """(path, message, allowed) for every number that is absurdly large for its field."""
    for name, value in given.items():
        field_value = getattr(model, name)
        if isinstance(value, dict) and isinstance(field_value, BaseModel):
            yield from upper_bound_problems(field_value, value, (*at, name))
            continue
        high = _MAX_BY_FIELD.get(name)
        for index, number in enumerate(value if isinstance(value, list) else [value]):
            if high is not None and isinstance(number, int | float) and number > high:
                path = (*at, name, index) if isinstance(value, list) else (*at, name)
                yield path, "is absurdly large", f"at most {high:g}"


def _model_at(cls: type[BaseModel], path: Path) -> type[BaseModel]:
    """The class of the nested configuration at a path."""
    for part in path:
        annotation = cls.model_fields[str(part)].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            cls = annotation
    return cls


def _schema_at(cls: type[BaseModel], path: Path) -> dict[str, Any]:
    """The JSON schema of the field at a path; empty if there is none."""
    names = [part for part in path if isinstance(part, str)]
    owner = _model_at(cls, tuple(names[:-1])) if names else cls
    found: dict[str, Any] = owner.model_json_schema()["properties"].get(names[-1], {}) if names else {}
    return found


def _choices_at(cls: type[BaseModel], path: Path) -> str:
    return listing(_schema_at(cls, path).get("enum", []))


def _range_at(cls: type[BaseModel], path: Path) -> str:
    """The range of a field, from its constraints: `above 0, below 1`."""
    names = [part for part in path if isinstance(part, str)]
    schema = _schema_at(cls, path)
    schema = next(iter(schema.get("anyOf", [])), schema)
    schema = next(iter(schema.get("prefixItems", [])), schema.get("items", schema))
    words = {
        "exclusiveMinimum": "above",
        "minimum": "at least",
        "exclusiveMaximum": "below",
        "maximum": "at most",
    }
    parts = [f"{word} {schema[key]:g}" for key, word in words.items() if key in schema]
    if names[-1] in _MAX_BY_FIELD and "maximum" not in schema and "exclusiveMaximum" not in schema:
        parts.append(f"at most {_MAX_BY_FIELD[names[-1]]:g}")
    kind = {"integer": "whole numbers", "number": "numbers"}.get(schema.get("type", ""), "")
    return f"{kind} {', '.join(parts)}".strip() if parts else kind
