"""The keys of a sweep file for the reference: from the classes that read it, and the comments behind their fields."""

from __future__ import annotations

import ast
import inspect
import io
import json
import tempfile
import textwrap
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from docs.markdown import code, table
from orchestrator.diagnostics.problem import SweepError
from orchestrator.sweep.axes import AXES, NamedSection
from orchestrator.sweep.spec import (
    AutoBatchSize,
    CompressionPlan,
    EarlyStopping,
    Goal,
    Objective,
    Parameters,
    Resources,
    ScaledLearningRate,
    Sweep,
)
from orchestrator.sweepfile.load import AUTO_EVALUATIONS, AUTO_EXTEND, AUTO_MULTIPLIERS, load_sweep
from trainables.config.base import FrozenConfig, union_members
from trainables.config.compression import Compression, FineTune
from trainables.config.training import NoiseScale
from trainables.config.trial import MeasureSettings
from trainables.tasks.catalog import BUILTIN

MISTAKES = """
name: digits
task: digit_cnn
objective: {metric: val_accuracy}
budget: {examples: 0}
parameters:
  batch_size: {values: [16, 16]}
  learnin_rate: 0.05
"""


def sections() -> str:
    """The top-level keys: whether each is required, and its purpose."""
    notes = comments(Sweep)
    fields = [(name, field) for name, field in Sweep.model_fields.items() if name != "facts"]
    rows = [(code(name), "needed" if field.is_required() else "", notes[name]) for name, field in fields]
    return table(("key", "", ""), rows)


def sweep_keys() -> str:
    """The optional top-level keys, `parameters` and every section with keys of its own."""
    sections: tuple[tuple[str, type[BaseModel], tuple[str, ...]], ...] = (
        ("objective", Objective, ()),
        ("goals", Goal, ()),
        ("early_stopping", EarlyStopping, ()),
        ("compression", CompressionPlan, ("variants",)),
        ("measure", MeasureSettings, ()),
        ("noise_scale", NoiseScale, ()),
        ("resources", Resources, ()),
    )
    return "\n\n".join(_section(f"`{name}`", model, without) for name, model, without in sections)


def parameter_keys() -> str:
    """Every axis with its default, then the classes that an axis may take."""
    axes = {axis.name: (axis.default, axis.setting.does) for axis in AXES}
    notes = comments(Parameters)
    others = {name: (default, notes[name]) for name, default in (("micro_batch_size", None), ("seed", 0))}
    rows = [
        (f"`{name}`", _allowed(Parameters, name).removeprefix("a list of "), code(_named(default)), does)
        for name, (default, does) in (axes | others).items()
    ]
    parts = [table(("key", "allowed", "default", ""), rows)]
    parts.append(_section("`learning_rate: {...}`", ScaledLearningRate))
    parts.append(
        f"With `batch_size: auto`, `multipliers` are {code(_word(AUTO_MULTIPLIERS))}, `extend` is {AUTO_EXTEND} and "
        f"`evaluations` {AUTO_EVALUATIONS} by default; without it, `evaluations` is "
        f"{Sweep.model_fields['evaluations'].default}."
    )
    parts.append(_section("`batch_size: {auto: {...}}`", AutoBatchSize))
    for axis in AXES:
        if isinstance(axis.kind, NamedSection):
            sections = axis.kind.members.items()
            parts += [_section(f"`{axis.name}: {name}`", model, ("name",)) for name, model in sections]
    return "\n\n".join(parts)


def compression_keys() -> str:
    members = union_members(Compression, "method").items()
    return "\n\n".join(_section(f"`{name}`", model, ("method",)) for name, model in members)


def _section(title: str, model: type[BaseModel], without: tuple[str, ...] = ()) -> str:
    """A heading, the class's own description, and a row for each of its fields."""
    notes = comments(model)
    rows = [
        (f"`{name}`", _allowed(model, name), _default(field), notes.get(name, ""))
        for name, field in model.model_fields.items()
        if name not in without
    ]
    words = inspect.cleandoc(model.__doc__ or "")
    keys = table(("key", "allowed", "default", ""), rows) if rows else ""
    return "\n\n".join(part for part in (f"### {title}", words, keys) if part)


def comments(model: type[BaseModel]) -> dict[str, str]:
    """The comment behind each field of a class, in its source or its base's: `seed: int = 0  # ...`."""
    bases = [base for base in model.__bases__ if issubclass(base, FrozenConfig) and base is not FrozenConfig]
    found = {name: note for base in bases for name, note in comments(base).items()}
    source = textwrap.dedent(inspect.getsource(model))
    fields = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.AnnAssign)]
    at = {line: ast.unparse(node.target) for node in fields for line in (node.lineno, node.end_lineno)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (name := at.get(token.start[0])):
            found[name] = token.string.removeprefix("#").strip().replace("None:", "`null`:")
    return found


def _allowed(model: type[BaseModel], name: str) -> str:
    """The allowed values of a field, from pydantic's JSON schema."""
    whole = _schema(model)
    return _values(whole["properties"].get(name, {}), whole.get("$defs", {}))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _values(schema: dict[str, Any], classes: dict[str, Any]) -> str:
    """One schema as text: the choices, the kind and the range of a number, or several of these."""
    if "anyOf" in schema:
        return ", or ".join(_values(choice, classes) for choice in schema["anyOf"])
    if "$ref" in schema:
        keys = classes[schema["$ref"].rpartition("/")[2]]["properties"]
        return code(f"{{{', '.join(f'{key}: ...' for key in keys if key not in ('method', 'name'))}}}")
    if "oneOf" in schema:
        return ", ".join(map(code, schema["discriminator"]["mapping"]))
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    match schema.get("type"):
        case "array":
            items = schema.get("items") or schema["prefixItems"][0]
            length = f"{schema['maxItems']} " if schema.get("maxItems") == schema.get("minItems", 0) else ""
            return f"a list of {length}{_values(items, classes)}"
        case "integer" | "number" as kind:
            words = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
            bounds = [f"{word} {schema[key]:g}" for key, word in words.items() if key in schema]
            return " ".join(["whole numbers" if kind == "integer" else "numbers", *bounds])
        case kind:
            return {"boolean": "`true`, `false`", "string": "text", "object": "a mapping", "null": "`null`"}[str(kind)]


def _default(field: Any) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    return f"as `{value.method}`" if isinstance(value, FineTune) else code(_word(value))


def _named(value: Any) -> str:
    """The value of an axis by default; an optimiser or a schedule is known by its name."""
    return str(getattr(value, "name", None) or _word(value))


def _word(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value).strip('"')


def mistakes() -> str:
    """The error message for a file with several mistakes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bad.yaml")
        file.write_text(MISTAKES.lstrip())
        try:
            load_sweep(file)
        except SweepError as error:
            return f"```text\n{str(error).replace(str(file), file.name)}\n```"
    raise AssertionError("the file with mistakes was taken")


def builtin_tasks() -> str:
    rows = [
        (
            f"`{name}`",
            task.doc,
            ", ".join(f"`{option}` {code(_word(value))}" for option, value in task.options.items()),
            ", ".join(f"`{metric}` ({mode})" for metric, mode in task.metrics.items()),
        )
        for name, task in BUILTIN.items()
    ]
    return table(("name", "model and data", "options and defaults", "metrics, beside `loss` (min)"), rows)
